import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

/*
 * Tells which process a pid belongs to. The system gives a pid to a new process later, in a container at every start.
 * So the pid in a lock file proves nothing alone; together with the start time or the command line it does.
 */

const run = promisify(execFile);

/**
 * Whether a process of this id exists. A process that has ended exists until its parent has asked for its exit code.
 */
export function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** A text that no other process with the same pid has, before or after; null where no process runs. */
export async function processStartMark(pid: number): Promise<string | null> {
  if (process.platform === "linux") {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
    if (stat === null) {
      return null;
    }
    // The second field is the name of the program in brackets. The name may hold brackets and blanks too.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    const [state, startTicks] = [fields[0], fields[19]];
    if (state === "Z" || state === "X") {
      return null;
    }
    const boot = await readFile("/proc/sys/kernel/random/boot_id", "utf8").catch(() => "");
    return `${boot.trim()}/${startTicks}`;
  }
  if (process.platform === "win32") {
    return processExists(pid) ? "running" : null;
  }
  return await runPs(pid, "lstart=");
}

/** The command line of a running process; null where no process runs, or where it cannot be read. */
export async function processCommandLine(pid: number): Promise<string | null> {
  if (process.platform === "linux") {
    const text = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return text === "" ? null : text.replaceAll("\0", " ");
  }
  return process.platform === "win32" ? null : await runPs(pid, "command=");
}

async function runPs(pid: number, column: string): Promise<string | null> {
  const result = await run("ps", ["-p", String(pid), "-o", column]).catch(() => null);
  return result?.stdout.trim() || null;
}
