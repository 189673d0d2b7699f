import { type LoadPlan, runBatches } from "../harness/load.ts";
import { readMachine } from "../harness/process-cpu.ts";
import { type Contender, type Readings, readBetween } from "../harness/window.ts";
import { toCourseId } from "../load/catalogue.ts";
import { openServerWriter, type WriterRow } from "../writer/server-writer.ts";
import { FILES_A_USER } from "./fill.ts";
import { Workload, type WorkloadName } from "./workload.ts";

/** Tables that grow with the users. No statement of the writer may scan one of them. */
const GROWING = ["user_progress", "lesson_progress", "course_progress", "users"] as const;

/** The log gets a whole page (`fullPages`) at its first change after a checkpoint. `blocksRead` were not in shared_buffers. */
const COUNTERS = `
SELECT (pg_current_wal_insert_lsn() - '0/0')::float8 AS "walBytes",
  (SELECT wal_fpi FROM pg_stat_wal) AS "fullPages",
  (SELECT blks_read FROM pg_stat_database WHERE datname = current_database()) AS "blocksRead",
  sum(seq_scan)::bigint AS "sequentialScans",
  sum(n_tup_upd) FILTER (WHERE relname <> 'users')::bigint AS updates,
  sum(n_tup_hot_upd) FILTER (WHERE relname <> 'users')::bigint AS "hotUpdates"
FROM pg_stat_user_tables WHERE relname = ANY ($1)`;

const SIZES = `
SELECT pg_table_size('user_progress') / 1048576.0::float8 AS "tableMb", pg_indexes_size('user_progress') / 1048576.0::float8 AS "indexMb",
  pg_database_size(current_database()) / 1048576.0::float8 AS "databaseMb"`;

/** A database of one size at the end of the run. */
export interface SizeFigures {
  rows: number;
  activeUsers: number;
  tableMb: number;
  indexMb: number;
  databaseMb: number;
  /** Whether a plan of a batch scans a table that grows. */
  isScanned: boolean;
  /** Whether the sums of a course equal a recount. The course has users of both workloads. */
  isExact: boolean;
}

export const SCANS = "sequential scans";

export type SizedDatabase = ReturnType<typeof openSizedDatabase>;

/** Opens the server's writer on a filled database. */
export function openSizedDatabase(given: { url: string; dataDir: string; users: number; batchSize: number }) {
  const { url, dataDir, users } = given;
  const rows = users * FILES_A_USER;
  const workload = new Workload(given);
  const { pool, write, explain } = openServerWriter(url);
  const checkpoint = () => pool.query("CHECKPOINT");
  let writtenSinceCheckpoint = 0;

  async function writeRows(batch: WriterRow[]): Promise<void> {
    await write(batch);
    writtenSinceCheckpoint += batch.length;
  }

  async function read(): Promise<Readings> {
    // Otherwise a backend publishes its counters at most once a second.
    await pool.query("SELECT pg_stat_force_next_flush()");
    const counters = await pool.query<Readings>(COUNTERS, [GROWING]);
    return { ...counters.rows[0], ...(await readMachine(dataDir)) };
  }

  /**
   * Writes batches one after another, right after a checkpoint. "server" is the CPU of this process within the writer.
   * "PostgreSQL" includes the checkpoint that writes the window's pages to the disk.
   */
  const contender = (name: WorkloadName): Contender => ({
    name: `${name}, ${rows.toLocaleString("en-US")} rows`,
    async prepare() {
      await checkpoint();
      writtenSinceCheckpoint = 0;
      for (const batch of name === "active" ? workload.everyActive() : []) await writeRows(batch);
    },
    read,
    load: (plan: LoadPlan) => runBatches(plan, () => workload.next(name), writeRows),
    async settle(window) {
      // The checkpoint also writes the pages of the warm-up.
      const share = window.work / writtenSinceCheckpoint;
      const flushed = (await readBetween(() => readMachine(dataDir), checkpoint)).grown.PostgreSQL ?? null;
      const { generator: server = null, PostgreSQL: own = null, sequentialScans, ...grown } = window.grown;
      const PostgreSQL = own === null || flushed === null ? null : own + flushed * share;
      const outcomes: Record<string, number> = sequentialScans ? { [SCANS]: sequentialScans } : {};
      return { ...window, outcomes, grown: { ...grown, server, PostgreSQL } };
    },
  });

  async function isScanned(name: WorkloadName): Promise<boolean> {
    const plans = await explain(workload.next(name));
    return GROWING.some((table) => new RegExp(`Seq Scan on (public\\.)?${table}\\b`).test(plans));
  }

  return {
    rows,
    contender,
    async inspect(): Promise<SizeFigures> {
      const differing = await pool.query("SELECT * FROM playhead_check_course($1)", [toCourseId(0)]);
      const sizes = (await pool.query<Pick<SizeFigures, "tableMb" | "indexMb" | "databaseMb">>(SIZES)).rows[0];
      return {
        ...(sizes as NonNullable<typeof sizes>),
        rows,
        activeUsers: workload.activeUsers(),
        isScanned: (await isScanned("active")) || (await isScanned("uniform")),
        isExact: differing.rows.length === 0,
      };
    },
  };
}
