import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Readings } from "./window.ts";

/*
 * Reads the CPU of this process, and from /proc the CPU of others. Null on a system without /proc.
 */

/** USER_HZ, the unit of /proc/<pid>/stat on every Linux that Node runs on. */
const TICKS_PER_SECOND = 100;

/** Core-seconds of the whole machine, and of the PostgreSQL in the folder. */
export async function readMachine(dataDir?: string): Promise<Readings> {
  const [machine, PostgreSQL] = await Promise.all([readMachineCpu(), dataDir && readPostgresCpu(dataDir)]);
  return { machine, ...(dataDir === undefined ? {} : { PostgreSQL: PostgreSQL || null }) };
}

/** Core-seconds of a PostgreSQL, with those of backends that have ended. */
async function readPostgresCpu(dataDir: string): Promise<number | null> {
  const text = await readFile(join(dataDir, "postgres", "postmaster.pid"), "utf8").catch(() => null);
  const postmaster = Number(text?.split("\n")[0]);
  const own = await readStat(postmaster);
  if (own === null) return null;
  let ticks = own.ticks + own.childTicks;
  for (const name of await readdir("/proc")) {
    const pid = Number(name);
    if (!Number.isInteger(pid)) continue;
    const stat = await readStat(pid);
    if (stat?.parent === postmaster) ticks += stat.ticks;
  }
  return ticks / TICKS_PER_SECOND;
}

/** Core-seconds of one process, exact to the nanosecond. https://docs.kernel.org/scheduler/sched-stats.html */
export async function readProcessCpu(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => null);
  return text === null ? null : Number(text.split(" ")[0]) / 1e9;
}

/** Core-seconds that the whole machine was busy since it started. */
async function readMachineCpu(): Promise<number | null> {
  const text = await readFile("/proc/stat", "utf8").catch(() => null);
  const fields = text?.split("\n")[0]?.trim().split(/\s+/).slice(1).map(Number);
  if (fields === undefined) return null;
  const [user = 0, nice = 0, system = 0, _idle, _iowait, irq = 0, softirq = 0] = fields;
  return (user + nice + system + irq + softirq) / TICKS_PER_SECOND;
}

async function readStat(pid: number): Promise<{ parent: number; ticks: number; childTicks: number } | null> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
  if (text === null) return null;
  // The second field is the program's name in brackets. It can contain blanks.
  const fields = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .map(Number);
  const [utime = 0, stime = 0, cutime = 0, cstime = 0] = fields.slice(11, 15);
  return { parent: fields[1] ?? 0, ticks: utime + stime, childTicks: cutime + cstime };
}

/** Core-seconds of this process. */
export function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
