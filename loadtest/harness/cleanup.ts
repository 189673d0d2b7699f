import { FlagError } from "./flags.ts";

/*
 * Whatever a run starts it ends, in reverse order: at its end, after a failure, at Ctrl-C, and when its time is up.
 * One process is one scope: where several subcommands run in turn, each has a process of its own (run-in-turn.ts).
 */

const cleanups: (() => unknown)[] = [];
let ending = false;

/** Ending takes no longer than this, whatever hangs. */
export const CLEANUP_SECONDS = 60;
/** One Ctrl-C may reach a process twice, from the terminal and from npm. */
const SAME_SIGNAL_MS = 1000;

/** Before anything is started. @throws Error when the run is ending already */
export function assertRunning(): void {
  if (ending) throw new Error("the run is ending");
}

/** Registers what is to be done when the run ends, however it ends. */
export function onEnd(clean: () => unknown): void {
  cleanups.push(clean);
}

async function end(): Promise<void> {
  ending = true;
  for (let clean = cleanups.pop(); clean !== undefined; clean = cleanups.pop()) {
    try {
      await clean();
    } catch (error) {
      console.error("while cleaning up:", error);
    }
  }
}

/** Runs the work, then ends what it started, and the process. `limitSeconds` bounds the whole. */
export async function runAndEnd(work: () => Promise<void>, limitSeconds: number): Promise<never> {
  let ended: Promise<void> | null = null;
  let firstSignalAt: number | null = null;
  const endOnce = (code: number) => {
    if (ended === null) {
      setTimeout(() => {
        console.error(`cleaning up is not done after ${CLEANUP_SECONDS} s; given up`);
        process.exit(code);
      }, CLEANUP_SECONDS * 1000).unref();
      ended = end();
    }
    return ended;
  };
  const giveUp = (reason: string, code: number) => {
    if (ending) return;
    console.error(`\n${reason}; ending what was started`);
    void endOnce(code).then(() => process.exit(code)); // end() never rejects
  };
  const onSignal = (reason: string, code: number) => {
    const now = performance.now();
    // A second Ctrl-C does not wait.
    if (firstSignalAt !== null && now - firstSignalAt > SAME_SIGNAL_MS) process.exit(code);
    firstSignalAt ??= now;
    giveUp(reason, code);
  };
  process.on("SIGINT", () => onSignal("interrupted", 130));
  process.on("SIGTERM", () => onSignal("terminated", 143));
  process.on("SIGHUP", () => onSignal("the terminal is gone", 129));
  // The run in turn that started this one.
  process.on("disconnect", () => giveUp("the process that started this is gone", 1));
  process.on("uncaughtException", (error) => {
    if (!ending) console.error(error);
    giveUp("failed", 1);
  });
  setTimeout(() => giveUp(`not done within ${limitSeconds} s`, 1), limitSeconds * 1000).unref();
  let code = 0;
  try {
    await work();
  } catch (error) {
    if (!ending) console.error(error instanceof FlagError ? `loadtest: ${error.message}` : error);
    code = 1;
  }
  await endOnce(code);
  process.exit(code);
}
