import type { Config } from "../config.ts";
import { Election } from "../db/election.ts";
import type { Database } from "../db/open-database.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { Forwarder } from "./forwarder.ts";
import { createRecordStore } from "./record-store.ts";
import { SessionTender } from "./session-tender.ts";
import { createStatementQueue } from "./statement-queue.ts";
import { createStatementStore, type StatementStore } from "./statement-store.ts";

export interface Xapi {
  store: StatementStore;
  start(): void;
  /** Cuts off what is under way; it is done again later. */
  stop(): Promise<void>;
}

export interface XapiParts {
  config: Pick<
    Config,
    | "XAPI"
    | "XAPI_BASE"
    | "XAPI_HOME_PAGE"
    | "XAPI_IDLE_SECONDS"
    | "XAPI_KEEP_DAYS"
    | "LRS_URL"
    | "LRS_AUTH"
    | "BEAT_INTERVAL_MS"
  >;
  database: Pick<Database, "pool" | "directUrl" | "watch">;
  metrics: Metrics;
  logger: Logger;
}

const POST_TIMEOUT_MS = 30_000;
const FORWARDING = { lookMs: 1000, pauseMs: 1000, maxPauseMs: 60_000 };
const ROUND_MS = 2000;
/** A player is there for three heartbeats. */
const IDLE_BEATS = 3;
const COUNTED_UP_TO = 100_000;
const UNSET_BASE = "https://playhead.invalid";

/** Builds xAPI: tells the triggers what to write, and stands for the duty of tending sessions and forwarding statements. */
export async function createXapi({ config, database, metrics, logger }: XapiParts): Promise<Xapi> {
  const { pool, directUrl, watch } = database;
  const { LRS_URL: url, XAPI_BASE: base, XAPI_HOME_PAGE: homePage = base } = config;
  const names = { base, homePage };
  const mode = !config.XAPI ? "off" : url === undefined ? "record" : "forward";
  await pool.query(
    `INSERT INTO settings AS s (name, value) VALUES ('xapi', $1)
     ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE s.value <> excluded.value`,
    [mode],
  );
  if (url !== undefined && base === UNSET_BASE)
    logger.warn("XAPI_BASE is not set: the IRIs in xAPI statements begin with a name that stands for nobody");
  collectWaiting(metrics, database.pool);
  const tender = new SessionTender(
    { pool, logger },
    {
      idleSeconds: Math.max(config.XAPI_IDLE_SECONDS, (IDLE_BEATS * config.BEAT_INTERVAL_MS) / 1000),
      keepDays: config.XAPI_KEEP_DAYS,
      roundMs: ROUND_MS,
    },
  );
  const forwarder =
    url === undefined
      ? null
      : new Forwarder(
          {
            queue: createStatementQueue({ pool }),
            store: createRecordStore({ url, auth: config.LRS_AUTH }, { timeoutMs: POST_TIMEOUT_MS }),
            names,
            metrics,
            logger,
          },
          FORWARDING,
        );
  const stopWork = async () => {
    await Promise.all([tender.stop(), forwarder?.stop()]);
  };
  const election = new Election({
    duty: "xapi",
    connectionString: directUrl,
    admit: (client) => watch.admit(client, { writes: true }),
    isAble: () => true,
    onElected() {
      tender.start();
      forwarder?.start();
    },
    onDismissed: () => void stopWork(), // never rejects
    logger,
  });
  return {
    store: createStatementStore({ pool }, names),
    start() {
      if (mode !== "off") election.start();
    },
    async stop() {
      await stopWork();
      await election.stop();
      await stopWork();
    },
  };
}

/** Counts what waits and what was refused, whenever somebody reads the figures. */
function collectWaiting(metrics: Metrics, pool: Database["pool"]): void {
  Object.assign(metrics.xapiWaiting, {
    async collect() {
      const { rows } = await pool
        .query<{ waiting: number; refused: number; seconds: number }>(
          `SELECT (SELECT count(*) FROM (SELECT FROM xapi_queue WHERE refused_at IS NULL LIMIT ${COUNTED_UP_TO}) AS q) AS waiting,
             (SELECT count(*) FROM (SELECT FROM xapi_queue WHERE refused_at IS NOT NULL LIMIT ${COUNTED_UP_TO}) AS q) AS refused,
             coalesce((SELECT extract(epoch FROM now() - s.stored) FROM xapi_statements AS s
               WHERE s.seq = (SELECT min(seq) FROM xapi_queue WHERE refused_at IS NULL)), 0)::float8 AS seconds`,
        )
        .catch(() => ({ rows: [] }));
      const [row] = rows;
      if (row === undefined) return; // the figures before stand
      metrics.xapiWaiting.set(row.waiting);
      metrics.xapiRefused.set(row.refused);
      metrics.xapiLagSeconds.set(Math.max(0, row.seconds));
    },
  });
}
