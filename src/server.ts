import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createIdentity, type GoogleAccess } from "./auth/create-identity.ts";
import type { Catalogue } from "./catalogue/catalogue.ts";
import { CatalogueCache } from "./catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "./catalogue/catalogue-store.ts";
import { seedDemoCourse } from "./catalogue/demo-course.ts";
import type { Config } from "./config.ts";
import { collectDatabaseMetrics } from "./db/database-metrics.ts";
import { Election } from "./db/election.ts";
import { startEmbeddedPostgres } from "./db/embedded/embedded-postgres.ts";
import { migrate } from "./db/migrate.ts";
import { createPool, type Pool } from "./db/pool.ts";
import { createSchemaCheck } from "./db/schema-state.ts";
import { createGateway, type Gateway } from "./gateway/gateway.ts";
import { createHttpApi, MAX_BODY_BYTES } from "./http/http-api.ts";
import { createHealth } from "./http/operations/health.ts";
import { toProblem } from "./http/problem.ts";
import { createLive } from "./live/create-live.ts";
import type { LiveHub } from "./live/live-hub.ts";
import { NotificationListener } from "./live/notification-listener.ts";
import type { Logger } from "./logger.ts";
import { createMetrics, type Metrics } from "./metrics/metrics.ts";
import { createMirror, type Mirror } from "./mirror/create-mirror.ts";
import { collectMirrorMetrics } from "./mirror/mirror-lag.ts";
import { warnIfUnattended } from "./mirror/mirror-state.ts";
import { createProgress } from "./progress/create-progress.ts";
import type { AcceptedBeat } from "./progress/create-progress-service.ts";
import { createRedisProgressCache } from "./progress/redis-progress-cache.ts";
import { createTopicReader } from "./progress/topic-reader.ts";
import { RedisLink } from "./redis/redis-link.ts";
import { createStreams, type Streams } from "./streams/create-streams.ts";
import { createStreamReader } from "./streams/stream-reader.ts";
import { listen } from "./uws/listen.ts";
import { serveHono } from "./uws/serve-fetch.ts";
import { App } from "./uws/uws.ts";
import type { Worker } from "./workers/worker.ts";

/*
 * The composition root: builds the parts, hands one part's functions to another, starts them in order and stops them
 * in reverse.
 */

export interface RunningServer {
  url: string;
  /** Drains, flushes and stops; resolves with the number of heartbeats that could not be written. */
  stop(): Promise<number>;
}

/** The same distance from src and from dist. */
const PAGES = fileURLToPath(new URL("../dist/dashboard", import.meta.url));
/** How long a stop waits for HTTP answers that are on their way. */
const HTTP_SETTLE_MS = 3000;
const DAY_MS = 24 * 3600 * 1000;
const MONTHS_AHEAD = 3;

export interface ServerOptions {
  config: Config;
  logger: Logger;
  /** Where this process is one of several that share a port. */
  worker?: Worker;
  /** How Google is reached, where not as usual. */
  google?: GoogleAccess;
}

/** @throws AppError, ConfigError or a database's error where a part does not start; what was started is stopped again */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const cleanups: (() => unknown)[] = [];
  try {
    return await start(options, cleanups);
  } catch (error) {
    for (const clean of cleanups.reverse()) await clean();
    throw error;
  }
}

async function start(
  { config, logger, worker, google }: ServerOptions,
  cleanups: (() => unknown)[],
): Promise<RunningServer> {
  const metrics = createMetrics();
  const database = await openDatabase(config, logger, cleanups);
  const { pool } = database;
  collectDatabaseMetrics(metrics, database);
  const identity = await createIdentity({ config, pool, google, metrics, logger });
  cleanups.push(() => identity.stop());
  const cache = new CatalogueCache({ pool });
  const catalogue = createCatalogue(pool, cache);
  if (config.demo) await seedDemoCourse(catalogue);

  const node = randomUUID();
  const redis = await openRedis(config, node, logger, cleanups);
  const progressCache =
    redis === null
      ? null
      : createRedisProgressCache({
          connection: () => redis.commands,
          isCurrent: () => !live.isBehind,
          prefix: config.REDIS_PREFIX,
          metrics,
          logger,
        });
  const mirror = await openMirror({ config, database, metrics, logger });
  cleanups.push(() => mirror?.stop());
  const app = App();
  const progress = createProgress({
    config,
    database,
    catalogue: cache,
    metrics,
    logger,
    onAccepted: (beat) => reportPresence(live.hub, beat),
    cache: progressCache,
    readCopy: mirror === null ? null : mirror.readFromMirror,
  });
  const common = {
    app,
    config,
    verifyToken: identity.verifyToken,
    progress: progress.service,
    catalogue,
    metrics,
    logger,
  };
  const gateway = createGateway(common);
  const live = createLive(
    {
      node,
      carrier: redis ?? worker ?? null,
      connectionString: database.directUrl,
      source: { ...createTopicReader({ pool }), ...createStreamReader({ pool }) },
      outlet: gateway.outlet,
      tellDevice: gateway.tellDevice,
      cache: progressCache,
      metrics,
      logger,
    },
    { frameIntervalMs: config.FRAME_INTERVAL_MS },
  );
  worker?.serve(metrics);
  const streams = createStreams({ config, pool, tell: gateway.tellMediaServer, metrics, logger });
  gateway.serve({ ...live, streams });
  const listener = createListener({
    connectionString: database.directUrl,
    hub: live.hub,
    cache,
    gateway,
    streams,
    logger,
  });
  await listener.start();
  cleanups.push(() => listener.stop());
  live.start();
  mirror?.start();

  let draining = false;
  const health = createHealth({
    checks: {
      database: async () => ({ ok: (await pool.query("SELECT 1")).rowCount === 1 }),
      listener: () => ({ ok: listener.listening }),
      migrations: createSchemaCheck(pool),
      draining: () => ({ ok: !draining }),
    },
  });
  const http = createHttpApi({
    ...common,
    version: readVersion(),
    mintToken: identity.mintToken,
    accounts: identity.accounts,
    streams: streams.service,
    publishGate: streams.gate,
    figures: worker === undefined ? () => metrics.registry.metrics() : () => worker.gather(),
    health,
    pages: PAGES,
  });
  const serving = serveHono(app, (request, env) => http.fetch(request, env), {
    toProblem,
    maxBodyBytes: MAX_BODY_BYTES,
    logger,
    metrics,
  });
  const listening = await listen(app, { host: config.HOST, port: config.PORT, shared: worker !== undefined });
  const housekeeping = startHousekeeping(pool, logger);

  async function stop(): Promise<number> {
    draining = true;
    listening.close();
    gateway.drain();
    // Clients go by themselves, each at its own moment; what they still send is taken.
    if (gateway.connections() > 0) await pause(config.DRAIN_MS);
    const unflushed = await progress.stop(config.SHUTDOWN_TIMEOUT_MS / 2);
    clearInterval(housekeeping);
    await live.stop();
    streams.stop();
    await gateway.stop();
    await serving.settle(HTTP_SETTLE_MS);
    app.close();
    for (const clean of cleanups.reverse()) await clean();
    return unflushed;
  }
  let stopping: Promise<number> | null = null;
  return {
    url: `http://${config.HOST.includes(":") ? `[${config.HOST}]` : config.HOST}:${listening.port}`,
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}

/** Null where no Redis is configured. One that is away now is waited for, but by nobody. */
async function openRedis(
  config: Config,
  node: string,
  logger: Logger,
  cleanups: (() => unknown)[],
): Promise<RedisLink | null> {
  if (config.REDIS_URL.length === 0) return null;
  const link = new RedisLink({ urls: config.REDIS_URL, prefix: config.REDIS_PREFIX, node }, { logger });
  cleanups.push(() => link.stop());
  await link.start();
  return link;
}

interface MirrorParts {
  config: Config;
  database: Database;
  metrics: Metrics;
  logger: Logger;
}

/** The backup in Firestore; null where none is configured. */
async function openMirror({ config, database, metrics, logger }: MirrorParts): Promise<Mirror | null> {
  const { pool, directUrl } = database;
  const { FIREBASE_PROJECT_ID: projectId, FIRESTORE_MIRROR, FIRESTORE_MIRROR_INTERVAL_MS: intervalMs } = config;
  if (!FIRESTORE_MIRROR || projectId === undefined) {
    await warnIfUnattended(pool, logger);
    return null;
  }
  collectMirrorMetrics(metrics, pool);
  const elect = (told: { onElected: () => void; onDismissed: () => void }) =>
    new Election({ ...told, duty: "mirror", connectionString: directUrl, isAble: () => true, logger });
  return createMirror({ projectId, pool, elect, metrics, logger }, { intervalMs });
}

/** A heartbeat that was accepted tells who is there, before it is durable and whether or not it will be. */
function reportPresence(hub: LiveHub, { file, beat, userId, leaseMs }: AcceptedBeat): void {
  const { position, state = "playing", rate = 1, ageMs = 0 } = beat;
  // What an offline player brings later tells nothing of now; a paused one counts its age from the pause.
  if (ageMs > leaseMs && state !== "paused") return;
  const { courseId, lessonId, fileId } = file;
  hub.report({ courseId, lessonId, fileId, userId, position, state, rate, ageMs, leaseMs });
}

export interface Database {
  /** For reads and operations. */
  pool: Pool;
  /** For heartbeat writers alone: nothing else can keep them waiting. */
  writerPool: Pool;
  /** Past any pooler, for LISTEN and session locks. */
  directUrl: string;
}

async function openDatabase(config: Config, logger: Logger, cleanups: (() => unknown)[]): Promise<Database> {
  let url = config.DATABASE_URL;
  if (url === undefined) {
    const embedded = await startEmbeddedPostgres({ dataDir: config.PLAYHEAD_DATA_DIR, logger });
    cleanups.push(() => embedded.stop());
    url = embedded.url;
  }
  const directUrl = config.LISTEN_DATABASE_URL ?? url;
  await migrate({ connectionString: directUrl, logger });
  const common = { connectionString: url, queryTimeoutMs: config.QUERY_TIMEOUT_MS, logger };
  const pool = createPool({ ...common, max: config.DATABASE_POOL_SIZE, applicationName: "playhead" });
  const writerPool = createPool({
    ...common,
    max: config.WRITERS,
    applicationName: "playhead-writer",
    options: { pipeline: true },
  });
  cleanups.push(() => Promise.all([pool.end(), writerPool.end()]));
  return { pool, writerPool, directUrl };
}

function createCatalogue(pool: Pool, cache: CatalogueCache): Catalogue {
  const store = createCatalogueStore({ pool });
  return {
    ...store,
    findFile: (fileId) => cache.findFile(fileId),
    findCourse: (courseId) => cache.findCourse(courseId),
    findLesson: (lessonId) => cache.findLesson(lessonId),
    // Who changed a course sees the change at once; the others hear of it by notification.
    async put(courseId, tree, options) {
      const result = await store.put(courseId, tree, options);
      cache.forgetCourse(courseId);
      return result;
    },
    async delete(courseId, options) {
      await store.delete(courseId, options);
      cache.forgetCourse(courseId);
    },
  };
}

interface ListenerParts {
  connectionString: string;
  hub: LiveHub;
  cache: CatalogueCache;
  gateway: Gateway;
  streams: Streams;
  logger: Logger;
}

function createListener({
  connectionString,
  hub,
  cache,
  gateway,
  streams,
  logger,
}: ListenerParts): NotificationListener {
  return new NotificationListener({
    connectionString,
    handlers: {
      stream_keys: (streamId) => streams.onKeyChanged(streamId),
      catalogue(courseId) {
        cache.forgetCourse(courseId);
        gateway
          .recheck(courseId)
          .catch((error: unknown) => logger.error({ err: error }, "rights could not be checked again"));
      },
    },
    onListening() {
      cache.forgetAll();
      streams.onListening();
      hub.resync();
    },
    logger,
  });
}

/** Months of the activity log are made ahead. */
function startHousekeeping(pool: Pool, logger: Logger): NodeJS.Timeout {
  const make = () => {
    pool.query("SELECT make_activity_partitions($1)", [MONTHS_AHEAD]).catch((error: unknown) => {
      logger.warn({ err: error }, "partitions of the activity log could not be made; tomorrow again");
    });
  };
  make();
  return setInterval(make, DAY_MS).unref();
}

function readVersion(): string {
  const text = readFileSync(new URL("../package.json", import.meta.url), "utf8");
  return (JSON.parse(text) as { version: string }).version;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
