import { SingleBar } from "cli-progress";

/*
 * How far a subcommand has come: a bar on a terminal, elsewhere a line whenever it does something else. On stderr, so
 * that what is piped holds results alone.
 */

export interface Progress {
  tell(what: string, share: number): void;
  /** Before anything else is printed. */
  end(): void;
}

export function showProgress(name: string): Progress {
  return process.stderr.isTTY ? showBar(name) : printLines(name);
}

function showBar(name: string): Progress {
  const bar = new SingleBar({
    format: `${name} {bar} {percentage} %  {duration_formatted}  {what}`,
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 24,
    fps: 4,
    hideCursor: true,
    // The time goes on where the share does not.
    forceRedraw: true,
    etaBuffer: 1,
    stream: process.stderr,
  });
  bar.start(1, 0, { what: "starting" });
  // A run that is cut off leaves the cursor behind.
  process.once("exit", () => bar.stop());
  let [last, lastWhat] = [0, "starting"];
  const timer = setInterval(() => bar.update(last, { what: lastWhat }), 1000).unref();
  return {
    tell(what, share) {
      last = Math.max(last, Math.min(1, share));
      lastWhat = what;
      bar.update(last, { what });
    },
    end() {
      clearInterval(timer);
      bar.update(1, { what: "done" });
      bar.stop();
    },
  };
}

function printLines(name: string): Progress {
  const startedAt = performance.now();
  let lastWhat = "";
  return {
    tell(what, share) {
      if (what === lastWhat) return;
      lastWhat = what;
      const seconds = Math.round((performance.now() - startedAt) / 1000);
      console.error(
        `${name} ${String(Math.round(share * 100)).padStart(3)} %  ${String(seconds).padStart(4)} s  ${what}`,
      );
    },
    end() {},
  };
}
