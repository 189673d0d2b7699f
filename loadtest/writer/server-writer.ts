import { CatalogueCache } from "../../src/catalogue/catalogue-cache.ts";
import { createPool, type PoolClient } from "../../src/db/pool.ts";
import { createLogger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { toPendingBeat } from "../../src/progress/pending-beat.ts";
import { byRow, ProgressWriter } from "../../src/progress/progress-writer.ts";
import { onEnd } from "../harness/cleanup.ts";

/*
 * Opens the server's ProgressWriter in this process, on one connection. Only this file and stub-writer.js know internals of
 * src/progress. It finds statements by observing the connection, and labels them by their names or their first words.
 */

export interface WriterRow {
  userId: string;
  fileId: string;
  courseId: string;
  positionMs: number;
  played: readonly (readonly [fromMs: number, toMs: number])[];
  session: string;
  seq: number;
}

/** Only a superuser may set these. https://www.postgresql.org/docs/current/auto-explain.html */
const EXPLAIN_SETTINGS: Record<string, string> = {
  "auto_explain.log_analyze": "on",
  "auto_explain.log_buffers": "on",
  "auto_explain.log_wal": "on",
  "auto_explain.log_triggers": "on",
  "auto_explain.log_nested_statements": "on",
  "auto_explain.log_parameter_max_length": "0",
  client_min_messages: "log",
};
/** A part of the statement by which PostgreSQL checks a foreign key. */
const REFERENCE_CHECK = "FOR KEY SHARE OF x";

/** Opens the writer. It connects at its first statement. */
export function openServerWriter(url: string) {
  const logger = createLogger({ level: "fatal" });
  const pool = createPool({
    connectionString: url,
    max: 1,
    queryTimeoutMs: 120_000,
    applicationName: "loadtest-writer",
    options: { pipeline: true },
    logger,
  });
  onEnd(() => pool.end());
  let waits = new Map<string, number>();
  let plans: string[] | null = null;
  pool.on("connect", (client) => {
    timeStatements(client, (statement, ms) => waits.set(statement, (waits.get(statement) ?? 0) + ms));
    client.on("notice", ({ message = "" }) => {
      if (message.includes("plan:") && !message.includes(REFERENCE_CHECK)) plans?.push(message);
    });
  });
  const writer = new ProgressWriter({
    pool,
    catalogue: new CatalogueCache({ pool }),
    metrics: createMetrics(),
    logger,
  });

  /** Writes a batch in the order of the buffer. @throws Error if a row was not written */
  async function write(rows: readonly WriterRow[]): Promise<void> {
    const observedAtMs = performance.now();
    const beats = rows.map((row) => toPendingBeat({ ...row, observedAtMs })).sort(byRow);
    const results = await writer.write(beats);
    const failed = results.find((result) => result.type !== "written");
    if (failed !== undefined) {
      const cause = "error" in failed ? failed.error : undefined;
      throw new Error(`a heartbeat was not written (${failed.type})`, { cause });
    }
  }

  return {
    pool,
    write,
    /** Writes a batch. @returns EXPLAIN ANALYZE of all its statements, with those in functions and triggers */
    async explain(rows: readonly WriterRow[]): Promise<string> {
      plans = [];
      await pool.query("LOAD 'auto_explain'");
      for (const setting of Object.entries(EXPLAIN_SETTINGS))
        await pool.query("SELECT set_config($1, $2, false)", setting);
      await pool.query("SET auto_explain.log_min_duration = 0");
      await write(rows);
      await pool.query("SET auto_explain.log_min_duration = -1; RESET client_min_messages");
      const text = plans.join("\n");
      plans = null;
      return text;
    },
    /** The waits for PostgreSQL since the last call, in ms, by statement. */
    takeWaits(): Map<string, number> {
      const taken = waits;
      waits = new Map();
      return taken;
    },
  };
}

/** Times statements. In a pipeline a statement's wait starts at the end of the one before. */
function timeStatements(client: PoolClient, onTime: (statement: string, ms: number) => void): void {
  const original = client.query.bind(client) as unknown as (...given: unknown[]) => unknown;
  let lastEndAt = 0;
  client.query = ((...given: unknown[]) => {
    const result = original(...given);
    if (!(result instanceof Promise)) return result;
    const startedAt = performance.now();
    const onEnded = () => {
      const now = performance.now();
      onTime(toLabel(given[0] as string | { name?: string; text: string }), now - Math.max(startedAt, lastEndAt));
      lastEndAt = now;
    };
    result.then(onEnded, onEnded);
    return result;
  }) as never;
}

/** A statement's name, or its first two words: "select lock_batch". */
function toLabel(query: string | { name?: string; text: string }): string {
  if (typeof query !== "string" && query.name !== undefined) return query.name;
  const text = typeof query === "string" ? query : query.text;
  return text
    .trim()
    .toLowerCase()
    .split(/[\s(;]+/)
    .slice(0, 2)
    .join(" ");
}
