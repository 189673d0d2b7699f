import { SingleBar } from "cli-progress";
import type { Tell } from "./section.ts";

/**
 * How far a subcommand has come: a bar on a terminal, elsewhere a line every few seconds. On stderr, so that a pipe holds
 * results alone. `end` comes before anything else is printed.
 */
export function showProgress(name: string): { tell: Tell; end(): void } {
  const bar = new SingleBar({
    format: `${name} {bar} {percentage} %  {duration_formatted}  {what}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
    fps: 4,
    hideCursor: true,
    // The time goes on while the share stands.
    forceRedraw: true,
    etaBuffer: 1,
    noTTYOutput: true,
    notTTYSchedule: 5000,
    stream: process.stderr,
  });
  let [share, what] = [0, "starting"];
  bar.start(1, 0, { what });
  // A run that is cut off would leave the cursor hidden.
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
