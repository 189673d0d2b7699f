import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { VerifyToken } from "./auth/caller.ts";
import { createIdentity, type GoogleAccess } from "./auth/create-identity.ts";
import { DeletedUsers } from "./auth/deleted-users.ts";
import { CatalogueCache } from "./catalogue/catalogue-cache.ts";
import { createCatalogue } from "./catalogue/create-catalogue.ts";
import { seedDemoCourse } from "./catalogue/demo-course.ts";
import type { Config } from "./config.ts";
import { canWrite } from "./db/can-write.ts";
import { collectDatabaseMetrics } from "./db/database-metrics.ts";
import { openDatabase } from "./db/open-database.ts";
import { createSchemaCheck } from "./db/schema-state.ts";
import { openSockets } from "./gateway/open-sockets.ts";
import { serveSockets } from "./gateway/serve-sockets.ts";
import { openHookPort } from "./http/hooks/hook-port.ts";
import { createHttpApi, MAX_BODY_BYTES } from "./http/http-api.ts";
import { createHealth } from "./http/operations/health.ts";
import { BUILT_PAGES } from "./http/pages/page-routes.ts";
import { toProblem } from "./http/problem.ts";
import { createLive } from "./live/create-live.ts";
import { reportBeat } from "./live/presence/report-beat.ts";
import { NotificationListener } from "./live/relay/notification-listener.ts";
import type { Logger } from "./logger.ts";
import { createMetrics } from "./metrics/metrics.ts";
import { openMirror } from "./mirror/open-mirror.ts";
import { createProfiles } from "./people/profiles.ts";
import { createUserData } from "./people/user-data.ts";
import { makePartitionsDaily } from "./progress/activity-partitions.ts";
import { createProgress } from "./progress/create-progress.ts";
import { createRedisProgressCache } from "./progress/redis-progress-cache.ts";
import { createTopicReader } from "./progress/topic-reader.ts";
import { openRedis } from "./redis/open-redis.ts";
import { createStreams } from "./streams/create-streams.ts";
import { createStreamReader } from "./streams/stream-reader.ts";
import { listen } from "./uws/listen.ts";
import { serveFetch } from "./uws/serve-fetch.ts";
import { App } from "./uws/uws.ts";
import { readVersion } from "./version.ts";
import { createWebhooks } from "./webhooks/create-webhooks.ts";
import { Worker } from "./workers/worker.ts";
import { createXapi } from "./xapi/create-xapi.ts";

/*
 * The composition root: builds the parts in the order in which they need each other, hands one part's functions to
 * another, and stops them. Every part is built before it is used.
 *
 *   database, identity, catalogue, redis, mirror
 *     ──▶ sockets (the way out) ──▶ live ──▶ progress, streams ──▶ gateway, listener, HTTP (the ways in) ──▶ port
 */

/** How long a stop waits for answers to HTTP requests that are under way. */
const HTTP_SETTLE_MS = 3000;

/** File descriptors that are reserved beside those of the database's pools: Redis, the listener, files, name look-ups. */
const OTHER_DESCRIPTORS = 32;

export interface RunningServer {
  url: string;
  /** The second port, for hooks alone; null without it. */
  hooksUrl: string | null;
  /** Drains, flushes and stops. Resolves with the number of heartbeats that could not be written. */
  stop(): Promise<number>;
}

export interface ServerOptions {
  config: Config;
  logger: Logger;
  /** The number, from 1, of this process among several that share a port under a supervisor. */
  workerNumber?: number;
  /** Another way to reach Google than the usual one. */
  google?: GoogleAccess;
}

/** Each closes a part that the start has opened. They run in reverse order. */
type Cleanups = (() => unknown)[];

/** @throws AppError, ConfigError or a database's error if a part does not start; parts opened before are closed */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const cleanups: Cleanups = [];
  try {
    return await start(options, cleanups);
  } catch (error) {
    await runAll(cleanups);
    throw error;
  }
}

async function start(options: ServerOptions, cleanups: Cleanups): Promise<RunningServer> {
  const { config, logger, workerNumber, google } = options;
  const isWorker = workerNumber !== undefined;
  const node = randomUUID();
  const metrics = createMetrics();
  const common = { config, metrics, logger };
  const worker = isWorker ? new Worker({ metrics }) : null;

  // The ground that all parts stand on.
  const database = await openDatabase({ config, logger });
  cleanups.push(() => database.close());
  collectDatabaseMetrics(metrics, database);
  const { pool, reservedPool, writerPool, watch, directUrl } = database;
  const deletedUsers = new DeletedUsers({ pool: reservedPool, onDeleted: forgetUsers, logger });
  await deletedUsers.load();
  const identity = await createIdentity({ ...common, pool: reservedPool, google, admit: deletedUsers.admit });
  cleanups.push(() => identity.stop());
  const profiles = createProfiles({ pool, logger });
  cleanups.push(() => profiles.stop());
  const verifyToken: VerifyToken = async (token) => {
    const caller = await identity.verifyToken(token);
    profiles.note(caller.userId, caller.name);
    return caller;
  };
  const catalogueCache = new CatalogueCache({ pool });
  const catalogue = createCatalogue({ pool, cache: catalogueCache });
  if (config.demo) await seedDemoCourse(catalogue);
  const redis = await openRedis({ config, node, logger });
  cleanups.push(() => redis?.stop());
  const mirror = await openMirror({ ...common, database });
  cleanups.push(() => mirror?.stop());

  // The way out: sockets, and the live view of changes. Nobody can connect before the port opens.
  const app = App();
  const sockets = openSockets({ app, ...common });
  const progressCache =
    redis === null
      ? null
      : createRedisProgressCache({
          connection: () => redis.commands,
          prefix: config.REDIS_PREFIX,
          metrics,
          logger,
        });
  const live = createLive(
    {
      node,
      carrier: redis ?? worker,
      connectionString: directUrl,
      admit: (client) => watch.admit(client, { writes: false }),
      source: { ...createTopicReader({ pool }), ...createStreamReader({ pool }) },
      outlet: sockets.outlet,
      tellDevice: sockets.tellDevice,
      cache: progressCache,
      metrics,
      logger,
    },
    { frameIntervalMs: config.FRAME_INTERVAL_MS },
  );

  // The subjects. A new one is a folder, a line here, and its name in `subjects`.
  const progress = createProgress({
    ...common,
    database,
    catalogue: catalogueCache,
    onAccepted: (beat) => reportBeat(live.hub, beat),
    cache: progressCache,
    isBehind: () => live.isBehind,
    readCopy: mirror === null ? null : mirror.readFromMirror,
  });
  const streams = createStreams({ ...common, pool, tell: sockets.tellMediaServer });
  cleanups.push(() => streams.stop());
  const webhooks = createWebhooks({ pool, metrics, logger });
  cleanups.push(() => webhooks.stop());
  const xapi = await createXapi({ ...common, database });
  cleanups.push(() => xapi.stop());
  const subjects = { ...common, catalogue, progress: progress.service };
  const cutsOf = live.sumOverProcesses((userId) => progress.service.cutsOf(userId));

  // The ways in: calls of sockets, notifications of the database, HTTP.
  const gateway = serveSockets(sockets, { ...subjects, verifyToken, live, streams });
  const listener = new NotificationListener({
    connectionString: directUrl,
    handlers: {
      stream_keys: (payload) => streams.onKeyChanged(payload),
      deleted_users: (payload) => deletedUsers.onNotified(payload),
      catalogue(courseId) {
        catalogueCache.forgetCourse(courseId);
        gateway.recheck(courseId);
      },
    },
    onListening() {
      catalogueCache.forgetAll();
      deletedUsers.reload();
      streams.onListening();
      live.hub.resync();
    },
    logger,
  });
  watch.onMoved(() => {
    // The listener and the relay have everything read again, once they listen there.
    progress.forgetAll();
    catalogueCache.forgetAll();
    void progressCache?.outdateAll(); // never rejects
    listener.reconnect();
    live.reconnect();
  });
  await listener.start();
  cleanups.push(() => listener.stop());
  live.start();
  cleanups.push(() => live.stop());
  mirror?.start();
  webhooks.start();
  xapi.start();

  const health = createHealth({
    checks: {
      database: async () => ({ ok: (await reservedPool.query("SELECT 1")).rowCount === 1 }),
      writers: async () => {
        if (progress.isDown) return { ok: false, detail: "heartbeats cannot be written now" };
        return { ok: await canWrite(writerPool) };
      },
      listener: () => ({ ok: listener.listening }),
      migrations: createSchemaCheck(reservedPool),
      draining: () => ({ ok: !gateway.isDraining }),
    },
  });
  const api = createHttpApi({
    ...subjects,
    ...identity,
    verifyToken,
    profiles,
    progress: { ...progress.service, cutsOf },
    userData: createUserData({ pool, onDeleted: (...deletion) => deletedUsers.note(...deletion) }),
    version: readVersion(),
    streams: streams.service,
    publishGate: streams.gate,
    webhooks: webhooks.store,
    xapi: xapi.store,
    figures: worker === null ? () => metrics.registry.metrics() : () => worker.gather(),
    health,
    pages: BUILT_PAGES,
  });
  const http = serveFetch(app, api.fetch, { toProblem, maxBodyBytes: MAX_BODY_BYTES, logger, metrics });

  const place = { host: config.HOST, port: config.PORT, shared: isWorker };
  const descriptors = config.DATABASE_POOL_SIZE + config.WRITERS + OTHER_DESCRIPTORS;
  const port = await listen(app, place, { descriptors, logger });
  // Only uWebSockets.js can share a port.
  const servesHooks = workerNumber === undefined || workerNumber === 1;
  const hookPort = servesHooks ? await openHookPort({ ...common, fetch: api.fetch }).catch(closing(port)) : null;
  const partitions = makePartitionsDaily({ pool, logger });
  worker?.ready(port.url);

  function forgetUsers(isDeleted: (userId: string) => boolean): void {
    gateway.endUsers(isDeleted);
    for (const part of [live.hub, progress, profiles]) part.forgetUsers(isDeleted);
  }

  async function stop(): Promise<number> {
    port.close();
    const hooksClosed = hookPort?.close(config.DRAIN_MS + HTTP_SETTLE_MS);
    gateway.drain();
    // Clients leave by themselves, each after its own share of the time. Their calls are still served until then.
    if (gateway.connections() > 0) await delay(config.DRAIN_MS);
    const unwritten = await progress.stop(config.SHUTDOWN_TIMEOUT_MS / 2);
    clearInterval(partitions);
    await live.stop();
    await streams.stop();
    await sockets.close();
    await http.settle(HTTP_SETTLE_MS);
    await hooksClosed;
    app.close();
    await runAll(cleanups);
    return unwritten;
  }
  let stopping: Promise<number> | null = null;
  return {
    url: port.url,
    hooksUrl: hookPort?.url ?? null,
    stop() {
      stopping ??= stop();
      return stopping;
    },
  };
}

/** Closes the port and throws the error on. */
function closing(port: { close(): void }): (error: unknown) => never {
  return (error) => {
    port.close();
    throw error;
  };
}

async function runAll(cleanups: Cleanups): Promise<void> {
  for (const clean of cleanups.reverse()) await clean();
}
