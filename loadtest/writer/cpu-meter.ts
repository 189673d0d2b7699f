import { readFile } from "node:fs/promises";
import type { Pool } from "../../src/db/pool.ts";

/** µs of CPU. Null where the system does not tell, which only Linux does. */
export interface Cpu {
  postgres: number | null;
  process: number;
}

/** Measures what a piece of work costs this process, and one backend of PostgreSQL. */
export class CpuMeter {
  readonly #backend: number;
  #sum: Cpu = { postgres: 0, process: 0 };

  constructor(backend: number) {
    this.#backend = backend;
  }

  async measure(work: () => Promise<void>): Promise<void> {
    const backendBefore = await readCpuUs(this.#backend);
    const before = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(before);
    const backendAfter = await readCpuUs(this.#backend);
    const { postgres } = this.#sum;
    const isKnown = postgres !== null && backendBefore !== null && backendAfter !== null;
    this.#sum = {
      postgres: isKnown ? postgres + backendAfter - backendBefore : null,
      process: this.#sum.process + user + system,
    };
  }

  /** A row, since the last call. */
  take(rows: number): Cpu {
    const { postgres, process } = this.#sum;
    this.#sum = { postgres: 0, process: 0 };
    return { postgres: postgres === null ? null : postgres / rows, process: process / rows };
  }
}

/** The backend of the connection that has this name. */
export async function findBackend(pool: Pool, applicationName: string): Promise<number> {
  const { rows } = await pool.query<{ pid: number }>("SELECT pid FROM pg_stat_activity WHERE application_name = $1", [
    applicationName,
  ]);
  const [row] = rows;
  if (row === undefined) throw new Error(`PostgreSQL has no connection named ${applicationName}`);
  return row.pid;
}

/** The first field is the time on a core, in ns. https://docs.kernel.org/scheduler/sched-stats.html */
async function readCpuUs(pid: number): Promise<number | null> {
  const text = await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => null);
  return text === null ? null : Number(text.split(" ")[0]) / 1000;
}
