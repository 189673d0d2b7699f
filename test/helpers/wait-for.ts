import { setTimeout as delay } from "node:timers/promises";

const POLL_MS = 20;

/**
 * Runs the check until it gives a truthy value, and returns that. A check that throws is run again.
 * @throws Error that names `what`, with the last failure of the check as its cause, after `timeoutMs`
 */
export async function waitFor<T>(
  check: () => T | Promise<T>,
  options: { what: string; timeoutMs?: number },
): Promise<NonNullable<Exclude<T, false | 0 | "" | null | undefined>>> {
  const { what, timeoutMs = 10_000 } = options;
  const deadline = Date.now() + timeoutMs;
  let failure: unknown;
  for (;;) {
    try {
      const result = await check();
      if (result) {
        return result as NonNullable<Exclude<T, false | 0 | "" | null | undefined>>;
      }
      failure = undefined;
    } catch (error) {
      failure = error;
    }
    if (Date.now() > deadline) {
      throw new Error(`Waited ${timeoutMs} ms for ${what}`, { cause: failure });
    }
    await delay(POLL_MS);
  }
}
