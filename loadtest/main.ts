import { parseCommandLine } from "./cli.ts";
import { CLEANUP_SECONDS, runAndEnd } from "./harness/cleanup.ts";
import { FlagError } from "./harness/flags.ts";
import type { Report } from "./render/page.ts";
import { runInTurn } from "./run-in-turn.ts";
import { runOne } from "./run-one.ts";
import { SUBCOMMANDS } from "./subcommands.ts";
import { writerCommand } from "./writer/writer-command.ts";

/* `npm run loadtest` and `npm run loadtest -- ingest`; README.md beside this says what the figures mean. */

async function main(): Promise<void> {
  const invocation = parseCommandLine(process.argv.slice(2), [...SUBCOMMANDS, writerCommand]);
  if (invocation === null) return;
  const { name, common, flags } = invocation;
  if (name === null) {
    const seconds = SUBCOMMANDS.reduce((sum, { limitSeconds }) => sum + limitSeconds + CLEANUP_SECONDS * 2, 0);
    return await runAndEnd(() => runInTurn(SUBCOMMANDS, common), seconds);
  }
  if (name === writerCommand.name) {
    const options = writerCommand.parse({ isQuick: common.isQuick, flags });
    return await runAndEnd(() => writerCommand.run(options), writerCommand.limitSeconds);
  }
  const subcommand = SUBCOMMANDS.find((one) => one.name === name);
  if (subcommand === undefined) throw new Error(`the command line knows '${name}', the list of subcommands does not`);
  await runAndEnd(async () => {
    const order = SUBCOMMANDS.map((one) => one.name);
    const report = await runOne(subcommand, invocation, order);
    await tellParent(report);
  }, subcommand.limitSeconds);
}

/** The run in turn that started this process, where one did. */
async function tellParent(report: Report): Promise<void> {
  if (process.send === undefined) return;
  await new Promise<void>((resolve, reject) => {
    process.send?.(report, undefined, undefined, (error) => (error === null ? resolve() : reject(error)));
  });
}

try {
  await main();
} catch (error) {
  if (!(error instanceof FlagError)) throw error;
  console.error(`loadtest: ${error.message}`);
  process.exitCode = 1;
}
