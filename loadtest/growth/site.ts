import { CatalogueCache } from "../../src/catalogue/catalogue-cache.ts";
import { createPool, type Pool } from "../../src/db/pool.ts";
import { createLogger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { toPendingBeat } from "../../src/progress/pending-beat.ts";
import { byRow, ProgressWriter } from "../../src/progress/progress-writer.ts";
import { onEnd } from "../harness/cleanup.ts";
import { toUserId } from "../load/catalogue.ts";
import { explainExecute } from "../writer/explain-batch.ts";
import { timeStatements } from "../writer/timed-pool.ts";
import { FILES_A_USER } from "./fill.ts";
import { type CourseRow, Workload } from "./workload.ts";

/** Tables that grow with the users: none of them may ever be read as a whole. */
const GROWING = ["user_progress", "lesson_progress", "course_progress", "users"] as const;

/** How many rows were counted, and how many sums differ. `playhead_check_course` would read a course's share of the whole table. */
const RECOUNT = `
WITH files AS (
  SELECT user_id, lesson_id, course_id, contribution_ms::bigint, multirange_ms(watched)::bigint AS watched_ms
  FROM user_progress WHERE user_id = ANY ($1)
)
SELECT (SELECT count(*) FROM files) AS counted, count(*) AS wrong FROM (
SELECT user_id, lesson_id, count(*), sum(contribution_ms)::bigint, sum(watched_ms)::bigint FROM files GROUP BY 1, 2
UNION ALL
SELECT user_id, course_id, count(*), sum(contribution_ms)::bigint, sum(watched_ms)::bigint FROM files GROUP BY 1, 2
EXCEPT (
  SELECT user_id, lesson_id, started_files, contribution_ms, watched_ms FROM lesson_progress WHERE user_id = ANY ($1)
  UNION ALL
  SELECT user_id, course_id, started_files, contribution_ms, watched_ms FROM course_progress WHERE user_id = ANY ($1)
)) AS differing`;

export interface SiteSize {
  tableMb: number;
  indexMb: number;
  databaseMb: number;
}

export interface SiteCounters {
  walBytes: number;
  /** Whole pages in the log: those touched for the first time since a checkpoint. */
  fullPages: number;
  /** Pages that were not in shared_buffers. */
  blocksRead: number;
  sequentialScans: number;
  updates: number;
  hotUpdates: number;
}

/** One filled database with the writer of one server, and its own heartbeats. */
export class Site {
  readonly rows: number;
  readonly workload: Workload;
  readonly #pool: Pool;
  readonly #writer: ProgressWriter;
  #onPlan: ((plan: string) => void) | null = null;

  constructor({ url, users, batchSize }: { url: string; users: number; batchSize: number }) {
    const logger = createLogger({ level: "fatal" });
    this.rows = users * FILES_A_USER;
    this.workload = new Workload({ users, batchSize, seed: users });
    this.#pool = createPool({
      connectionString: url,
      max: 1,
      queryTimeoutMs: 120_000,
      applicationName: "loadtest-writer",
      options: { pipeline: true },
      logger,
    });
    onEnd(() => this.#pool.end());
    timeStatements(this.#pool, {
      onQuery: async (client, query) => {
        if (this.#onPlan === null || query.name === undefined) return;
        const tell = this.#onPlan;
        this.#onPlan = null;
        tell(await explainExecute(client, query));
      },
    });
    this.#writer = new ProgressWriter({
      pool: this.#pool,
      catalogue: new CatalogueCache({ pool: this.#pool }),
      metrics: createMetrics(),
      logger,
    });
  }

  /** As the buffer hands a batch over. @throws Error where a row was not written */
  async write(rows: CourseRow[]): Promise<void> {
    const observedAtMs = performance.now();
    const beats = rows.map((row) => toPendingBeat({ ...row, observedAtMs })).sort(byRow);
    const results = await this.#writer.write(beats);
    const failed = results.find((result) => result.type !== "written");
    if (failed !== undefined) {
      throw new Error(`a heartbeat was not written (${failed.type})`, {
        cause: failed.type === "failed" ? failed.error : undefined,
      });
    }
  }

  /** EXPLAIN ANALYZE of a batch as it is executed; then the batch is written. */
  async explain(rows: CourseRow[]): Promise<string> {
    let plan = "";
    this.#onPlan = (text) => {
      plan = text;
    };
    await this.write(rows);
    return plan;
  }

  async checkpoint(): Promise<void> {
    await this.#pool.query("CHECKPOINT");
  }

  async readSize(): Promise<SiteSize> {
    const { rows } = await this.#pool.query<{ table: number; index: number; database: number }>(
      `SELECT pg_table_size('user_progress') AS table, pg_indexes_size('user_progress') AS index,
         pg_database_size(current_database()) AS database`,
    );
    const [size] = rows;
    const toMb = (bytes = 0) => bytes / 2 ** 20;
    return { tableMb: toMb(size?.table), indexMb: toMb(size?.index), databaseMb: toMb(size?.database) };
  }

  /** Since the beginning. A backend tells its counters at most once a second, but where it is asked to. */
  async readCounters(): Promise<SiteCounters> {
    await this.#pool.query("SELECT pg_stat_force_next_flush()");
    const { rows } = await this.#pool.query<SiteCounters>(
      `SELECT (pg_current_wal_insert_lsn() - '0/0')::float8 AS "walBytes",
         (SELECT wal_fpi FROM pg_stat_wal) AS "fullPages",
         (SELECT blks_read FROM pg_stat_database WHERE datname = current_database()) AS "blocksRead",
         sum(seq_scan)::bigint AS "sequentialScans",
         sum(n_tup_upd) FILTER (WHERE relname <> 'users')::bigint AS updates,
         sum(n_tup_hot_upd) FILTER (WHERE relname <> 'users')::bigint AS "hotUpdates"
       FROM pg_stat_user_tables WHERE relname = ANY ($1)`,
      [GROWING],
    );
    return rows[0] as SiteCounters;
  }

  /** Whether lessons and courses of these users are the sums of their files, counted anew from what was watched. */
  async isExact(users: number[]): Promise<boolean> {
    const { rows } = await this.#pool.query<{ counted: number; wrong: number }>(RECOUNT, [users.map(toUserId)]);
    return rows[0] !== undefined && rows[0].counted > 0 && rows[0].wrong === 0;
  }
}

/** Whether a plan reads a table that grows as a whole. */
export function hasSequentialScan(plan: string): boolean {
  return GROWING.some((table) => new RegExp(`Seq Scan on (public\\.)?${table}\\b`).test(plan));
}
