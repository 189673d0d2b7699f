import { SingleBar } from "cli-progress";
import type { Tell } from "./section.ts";

/**
 * Shows the progress of a subcommand: a bar on a terminal, elsewhere a line every few seconds. It writes to stderr, so a
 * pipe gets only the results. Call `end` before you print anything else.
 */
export function showProgress(name: string): { tell: Tell; end(): void } {
  const bar = new SingleBar({
    format: `${name} {bar} {percentage} %  {duration_formatted}  {what}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
    fps: 4,
    hideCursor: true,
    // The time changes although the share does not.
    forceRedraw: true,
    etaBuffer: 1,
    noTTYOutput: true,
    notTTYSchedule: 5000,
    stream: process.stderr,
  });
  let [share, what] = [0, "starting"];
  bar.start(1, 0, { what });
  // The bar hides the cursor: an exit has to show it again.
  process.once("exit", () => bar.stop());
  const timer = setInterval(() => bar.update(share, { what }), 1000).unref();
  return {
    tell(newWhat, newShare) {
      share = Math.max(share, Math.min(1, newShare));
      what = newWhat;
      bar.update(share, { what });
    },
    end() {
      clearInterval(timer);
      bar.update(1, { what: "done" });
      bar.stop();
    },
  };
}
