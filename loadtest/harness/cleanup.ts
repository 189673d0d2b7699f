import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FlagError } from "./flags.ts";

/*
 * A run ends everything that it started, in reverse order: at its end, after a failure, at Ctrl-C, and when its time is
 * up. The list of cleanups belongs to the process: subcommands in turn have a process each (run-in-turn.ts).
 */

type Cleanup = () => unknown;

const cleanups: Cleanup[] = [];
/** Cleanups at the end of the run. They stay when a scope ends. */
const lastCleanups: Cleanup[] = [];
let ending: Promise<void> | null = null;

/** The process exits after this time although a cleanup hangs. */
export const CLEANUP_SECONDS = 60;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Call it before you start a process. @throws Error when the run is ending already */
export function assertRunning(): void {
  if (ending !== null) throw new Error("the run is ending");
}

/** Adds a cleanup to the scope; `isLast` adds it to the run. */
export function onEnd(clean: Cleanup, { isLast = false } = {}): void {
  (isLast ? lastCleanups : cleanups).push(clean);
}

/** Does the work, then runs the cleanups that the work added. Scopes do not overlap. */
export async function inScope<T>(work: () => Promise<T>): Promise<T> {
  const before = cleanups.length;
  const result = await work();
  while (cleanups.length > before) await cleanups.pop()?.();
  return result;
}

/** Makes a folder for the data of one PostgreSQL. The end of the scope removes it. */
export async function makeTemporaryFolder(options: { isLast?: boolean } = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "playhead-loadtest-"));
  // The user `postgres` must be able to enter.
  await chmod(folder, 0o711);
  onEnd(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }), options);
  return folder;
}

/** Does the work, runs all cleanups, and exits. `limitSeconds` is the limit for the work. */
export async function runAndEnd(work: () => Promise<void>, limitSeconds: number): Promise<never> {
  // One Ctrl-C can arrive twice: from the terminal and from npm.
  for (const [signal, code] of Object.entries(SIGNALS)) process.on(signal, () => giveUp(`${signal} came`, code));
  // `runInTurn` started this process.
  process.on("disconnect", () => giveUp("the process that started this one is gone", 1));
  process.on("uncaughtException", (error) => giveUp("failed", 1, error));
  setTimeout(() => giveUp(`not done within ${limitSeconds} s`, 1), limitSeconds * 1000).unref();
  let code = 0;
  try {
    await work();
  } catch (error) {
    if (ending === null) console.error(error instanceof FlagError ? `loadtest: ${error.message}` : error);
    code = 1;
  }
  await endOnce(code);
  process.exit(code);
}

function giveUp(reason: string, code: number, error?: Error): void {
  if (ending !== null) return;
  if (error !== undefined) console.error(error);
  console.error(`\n${reason}; ending what was started`);
  void endOnce(code).then(() => process.exit(code)); // never rejects
}

function endOnce(code: number): Promise<void> {
  if (ending === null) {
    setTimeout(() => {
      console.error(`cleaning up is not done after ${CLEANUP_SECONDS} s; given up`);
      process.exit(code);
    }, CLEANUP_SECONDS * 1000).unref();
    ending = end();
  }
  return ending;
}

async function end(): Promise<void> {
  for (const clean of [...lastCleanups, ...cleanups].reverse()) {
    try {
      await clean();
    } catch (error) {
      console.error("while cleaning up:", error);
    }
  }
}
