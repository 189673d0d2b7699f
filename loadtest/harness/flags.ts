/** A wrong flag. Its message is one line, printed without a stack. */
export class FlagError extends Error {}

type Flags = Readonly<Record<string, string | undefined>>;

/** @throws FlagError with the flag, its value and the expected values */
export function readWholeNumber(
  flags: Flags,
  name: string,
  { usual, least = 1, most }: { usual: number; least?: number; most: number },
): number {
  const given = flags[name];
  if (given === undefined) return usual;
  const value = /^\d+$/.test(given) ? Number(given) : Number.NaN;
  if (!(value >= least && value <= most)) {
    throw new FlagError(`--${name}: got '${given}'; expected a whole number from ${least} to ${most}`);
  }
  return value;
}

export function readChoice<T extends string>(flags: Flags, name: string, choices: readonly T[], usual: T): T {
  const given = flags[name];
  if (given === undefined) return usual;
  const found = choices.find((choice) => choice === given);
  if (found === undefined) throw new FlagError(`--${name}: got '${given}'; expected one of ${choices.join(", ")}`);
  return found;
}
