/*
 * Whatever a run starts it ends, in reverse order: at its end, after a failure, at Ctrl-C, and when its time is up.
 */

const cleanups: (() => unknown)[] = [];
let ending = false;

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
  const endOnce = () => {
    ended ??= end();
    return ended;
  };
  const giveUp = (reason: string, code: number) => {
    // A second Ctrl-C does not wait.
    if (ending) process.exit(code);
    console.error(`\n${reason}; ending what was started`);
    void endOnce().then(() => process.exit(code)); // end() never rejects
  };
  process.on("SIGINT", () => giveUp("interrupted", 130));
  process.on("SIGTERM", () => giveUp("terminated", 143));
  setTimeout(() => giveUp(`not done within ${limitSeconds} s`, 1), limitSeconds * 1000).unref();
  let code = 0;
  try {
    await work();
  } catch (error) {
    if (!ending) console.error(error);
    code = 1;
  }
  await endOnce();
  process.exit(code);
}
