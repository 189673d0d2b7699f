import type { ChildProcess } from "node:child_process";
import { endsWithin } from "../../within-time.ts";

export type StopMode = "fast" | "immediate";

/** How a process ended: null, or the reason for a person. */
export interface Exit {
  failure: string | null;
}

/** Settles when the process has ended or could not start. Never rejects. */
export function waitForExit(child: ChildProcess): Promise<Exit> {
  return new Promise((settle) => {
    child.once("error", (error) => settle({ failure: error.message }));
    // `close` comes after `exit`, when all output has been read.
    child.once("close", (code, signal) => settle({ failure: code === 0 ? null : `exit ${code ?? signal}` }));
  });
}

/**
 * Ends a PostgreSQL, and resolves when it is gone. Each signal is harder than the one before, so this comes to an end.
 * `fast` rolls back open transactions and writes a checkpoint; `immediate` is a crash that leaves no processes.
 */
export async function endPostgres(pid: number | undefined, exit: Promise<Exit>, mode: StopMode): Promise<void> {
  const steps: [NodeJS.Signals, number][] = [
    ["SIGINT", 10_000],
    ["SIGQUIT", 5000],
    ["SIGKILL", 5000],
  ];
  for (const [signal, patienceMs] of mode === "fast" ? steps : steps.slice(1)) {
    if (pid === undefined || !sendSignal(pid, signal)) {
      return;
    }
    if (await endsWithin(exit, patienceMs)) {
      return;
    }
  }
}

function sendSignal(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch {
    return false;
  }
}
