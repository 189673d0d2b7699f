import { Command, CommanderError, Option } from "commander";
import { FlagError } from "./harness/flags.ts";
import type { Subcommand } from "./harness/section.ts";

/** Flags that every subcommand takes. */
export interface CommonFlags {
  isQuick: boolean;
  json: string | null;
  /** The folder of the page; null: the usual one. */
  report: string | null;
}

export interface Invocation {
  /** Null: all subcommands in turn. */
  name: string | null;
  common: CommonFlags;
  flags: Record<string, string | undefined>;
}

export type CommandShape = Pick<Subcommand, "name" | "summary" | "flags">;

/**
 * Reads the command line. Prints the help and returns null, if the command line asks for it.
 * @throws FlagError with the wrong argument and the expected ones
 */
export function parseCommandLine(args: string[], commands: readonly CommandShape[]): Invocation | null {
  let invocation: Invocation | null = null;
  const program = new Command("loadtest")
    .usage("[subcommand] [flags]")
    .description("Measures Playhead and other designs for the same work. Without a subcommand: all of them in turn.")
    .argument("[subcommand]")
    .option("--quick", "rough figures in a fraction of the time")
    .option("--json <FILE>", "the figures as JSON too")
    .option("--report <DIR>", "the folder for page and plots (default: loadtest/report, for runs that are not quick)")
    .helpCommand(false)
    .action((given: string | undefined) => {
      const names = commands.map(({ name }) => name).join(", ");
      if (given !== undefined) throw new FlagError(`'${given}': unknown; expected one of ${names}`);
      invocation = { name: null, common: toCommon(program), flags: {} };
    });
  program
    .configureOutput({ writeErr: () => undefined })
    .configureHelp({ showGlobalOptions: true })
    .exitOverride();
  for (const { name, summary, flags } of commands) {
    const command = program.command(name).description(summary);
    const options = Object.entries(flags).map(([flag, text]) => new Option(flag.replace(/ (.+)/, " <$1>"), text));
    for (const option of options) command.addOption(option);
    command.action(() => {
      invocation = { name, common: toCommon(program), flags: readFlags(command, options) };
    });
  }
  try {
    program.parse(args, { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return null;
    const flags = commands.find(({ name }) => args.includes(name))?.flags ?? {};
    throw new FlagError(toOneLine(error, ["--quick", "--json FILE", "--report DIR", ...Object.keys(flags)]));
  }
  return invocation;
}

function readFlags(command: Command, options: Option[]): Record<string, string | undefined> {
  const flags: Record<string, string | undefined> = {};
  for (const option of options) {
    const value: unknown = command.getOptionValue(option.attributeName());
    if (value === undefined) continue;
    const name = option.name();
    const text = String(value);
    // Refuse a wrong `N` before anything starts. The subcommand checks the bounds.
    if (/<N>/.test(option.flags) && !/^\d+$/.test(text)) {
      throw new FlagError(`--${name}: got '${text}'; expected a whole number`);
    }
    flags[name] = text;
  }
  return flags;
}

function toCommon(program: Command): CommonFlags {
  const { quick, json, report } = program.opts<{ quick?: boolean; json?: string; report?: string }>();
  return { isQuick: quick ?? false, json: json ?? null, report: report ?? null };
}

function toOneLine(error: CommanderError, flags: string[]): string {
  const message = error.message.replace(/^error: /, "").split("\n")[0] ?? "";
  return error.code === "commander.unknownOption" ? `${message}; expected one of ${flags.join(", ")}` : message;
}
