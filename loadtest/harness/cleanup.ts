import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FlagError } from "./flags.ts";

/*
 * All that a run starts it ends, in reverse order: at its end, after a failure, at Ctrl-C, and when its time is up. One
 * process is one scope: where several subcommands run in turn, each has a process of its own (run-in-turn.ts).
 */

type Cleanup = () => unknown;

const cleanups: Cleanup[] = [];
/** Of what lasts for the whole run, whatever scope it was started in. */
const lastCleanups: Cleanup[] = [];
let ending: Promise<void> | null = null;

/** Ending takes no longer than this, whatever hangs. */
export const CLEANUP_SECONDS = 60;
const SIGNALS = { SIGINT: 130, SIGTERM: 143, SIGHUP: 129 } as const;

/** Before anything is started. @throws Error when the run is ending already */
export function assertRunning(): void {
  if (ending !== null) throw new Error("the run is ending");
}

/** Registers what is to be done when the scope ends, or the run, however it ends. */
export function onEnd(clean: Cleanup, { isLast = false } = {}): void {
  (isLast ? lastCleanups : cleanups).push(clean);
}

/** Does some work, then ends what it started. Scopes do not overlap. */
export async function inScope<T>(work: () => Promise<T>): Promise<T> {
  const before = cleanups.length;
  const result = await work();
  while (cleanups.length > before) await cleanups.pop()?.();
  return result;
}

/** Makes a folder for the data of one PostgreSQL; it goes when the scope ends. */
export async function makeTemporaryFolder(options: { isLast?: boolean } = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "playhead-loadtest-"));
  // The user `postgres` has to pass.
  await chmod(folder, 0o711);
  onEnd(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }), options);
  return folder;
}

/** Runs the work, then ends what it started, and the process. `limitSeconds` bounds the whole. */
export async function runAndEnd(work: () => Promise<void>, limitSeconds: number): Promise<never> {
  // One Ctrl-C may come twice, from the terminal and from npm.
  for (const [signal, code] of Object.entries(SIGNALS)) process.on(signal, () => giveUp(`${signal} came`, code));
  // The run in turn that started this process.
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
