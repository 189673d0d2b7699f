import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

/*
 * Who a process id belongs to. A lock file keeps a pid, and pids are used again: after a crash, and in
 * containers at every start. So a pid alone proves nothing; with its start time or its command line it does.
 */

const run = promisify(execFile);

/** Whether a process of this id exists. One that ended and waits to be reaped still does. */
export function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** A text that tells this process from every other that had or will have its id; null where none runs. */
export async function processStartMark(pid: number): Promise<string | null> {
  if (process.platform === "linux") {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
    if (stat === null) {
      return null;
    }
    // The second field is the program's name in brackets, and may itself hold brackets and blanks.
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

/** The command line of a running process; null where none runs or it cannot be read. */
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
