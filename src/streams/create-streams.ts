import type { Config } from "../config.ts";
import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Drop } from "./claims/claim.ts";
import { ClaimQueue } from "./claims/claim-queue.ts";
import { Outage } from "./claims/outage.ts";
import { createPublishGate } from "./create-publish-gate.ts";
import { createStreamService } from "./create-stream-service.ts";
import { KeyCache } from "./keys/key-cache.ts";
import { createKeyExpiry } from "./keys/key-expiry.ts";
import { createWrongKeys } from "./keys/wrong-keys.ts";
import type { PublishGate } from "./publish-gate.ts";
import { createNginxControl } from "./sessions/nginx-control.ts";
import { SessionStore } from "./sessions/session-store.ts";
import { SessionSweeper } from "./sessions/session-sweeper.ts";
import type { StreamService } from "./stream-service.ts";

const MAX_TOLD = 10_000;
const RETRY_MS = 1000;

/** What the triggers (migrations) send. */
interface KeyNotification {
  streamId: string;
  /** Of a session that was deleted while it was live. */
  drop?: Drop;
}

export interface StreamsParts {
  config: Pick<
    Config,
    | "MAX_STREAMS_PER_USER"
    | "STREAM_LEASE_SECONDS"
    | "STREAM_SILENT_LEASE_SECONDS"
    | "STREAM_RECONNECT_SECONDS"
    | "NGINX_CONTROL_URLS"
  >;
  pool: Pool;
  /** Tells the media server that is connected here, if it is. */
  tell: (drop: Drop) => void;
  metrics: Metrics;
  logger: Logger;
}

export interface Streams {
  service: StreamService;
  gate: PublishGate;
  exists(streamId: string): Promise<boolean>;
  /** What this media server missed while it was not connected: sessions that it has to end. */
  findDrops(server: { name: string; boot: string }): Promise<Drop[]>;
  /** A stream's key, what it is worth, or its session's end was notified. @throws SyntaxError for what the triggers would never send */
  onKeyChanged(payload: string): void;
  /** Notifications may have been lost, and the database may have been away. */
  onListening(): void;
  stop(): void;
}

/** Builds keys, sessions and what watches over them. */
export function createStreams({ config, pool, tell, metrics, logger }: StreamsParts): Streams {
  const leaseSeconds = config.STREAM_LEASE_SECONDS;
  const defaultReconnectSeconds = config.STREAM_RECONNECT_SECONDS;
  const keys = new KeyCache({ pool });
  const store = new SessionStore({ pool }, { defaultReconnectSeconds });
  const claims = new ClaimQueue({ pool, keys, writer: store.claims, logger });
  const nginx = createNginxControl(config.NGINX_CONTROL_URLS, { logger });
  const sweeper = new SessionSweeper({ store, logger }, { leaseSeconds });
  const expiry = createKeyExpiry({ pool, logger });
  const outage = new Outage({ store, logger, onDrop: (one) => void drop(one) });

  /** Once a session, whoever finds out first: the claim that ousted it, or the notification of it. */
  function drop(one: Drop): Promise<void> {
    const telling = told.get(one.sessionId) ?? tellNow(one);
    told.set(one.sessionId, telling);
    return telling;
  }

  async function tellNow(one: Drop): Promise<void> {
    metrics.streamDrops.inc({ reason: one.reason });
    tell(one);
    await nginx.drop(one.server, one.connection);
  }

  const gate = createPublishGate(
    { keys, claims, store, outage, sweeper, wrongKeys: createWrongKeys(), nginx, drop, metrics, logger },
    { leaseSeconds, silentLeaseSeconds: config.STREAM_SILENT_LEASE_SECONDS },
  );

  /** Sessions that were told to end: what ended an hour ago is still read, and need not be told again. */
  const told = new Map<string, Promise<void>>();
  let news = { streamIds: new Set<string>(), hashes: new Set<string>(), drops: [] as Drop[] };
  let isFollowing = false;
  let hasListened = false;
  let isStopped = false;
  let retry: NodeJS.Timeout | null = null;

  async function tellNews(drops: Drop[]): Promise<void> {
    const telling = drops.map(drop);
    for (const oldest of told.keys()) {
      if (told.size <= MAX_TOLD) break;
      told.delete(oldest);
    }
    await Promise.all(telling);
  }

  /** What was notified while the last was followed goes together: whoever revokes thousands sends thousands. */
  async function followKeys(): Promise<void> {
    const { streamIds, hashes, drops } = news;
    news = { streamIds: new Set(), hashes: new Set(), drops: [] };
    // Whoever tells a slow nginx holds up no news of others.
    const tellThem = (found: Drop[]) => follow(() => tellNews(found));
    tellThem(drops);
    await Promise.all([store.findDrops({ streamIds: [...streamIds] }).then(tellThem), keys.refresh([...hashes])]);
  }

  async function followNews(): Promise<void> {
    if (isFollowing) return;
    isFollowing = true;
    try {
      while (news.streamIds.size > 0) await followKeys();
    } finally {
      isFollowing = false;
    }
  }

  /** What notifications would have told, had they come. */
  async function followAll(): Promise<void> {
    await Promise.all([store.findDrops("all").then(tellNews), keys.refreshAll()]);
  }

  async function noteAll(): Promise<void> {
    for (const { sessionId } of await store.findDrops("all")) told.set(sessionId, Promise.resolve());
  }

  /** Until it succeeds: a media server that is not told goes on publishing. */
  function follow(work: () => Promise<void>): void {
    work().catch((error: unknown) => {
      if (isStopped) return;
      logger.warn({ err: error }, "what changed of stream keys could not be followed; again in a second");
      retry ??= setTimeout(() => {
        retry = null;
        follow(followAll);
      }, RETRY_MS).unref();
    });
  }

  return {
    service: createStreamService({ pool }, { maxStreamsPerUser: config.MAX_STREAMS_PER_USER, defaultReconnectSeconds }),
    gate,
    exists: async (streamId) => (await pool.query("SELECT FROM streams WHERE id = $1", [streamId])).rowCount === 1,
    findDrops: ({ name, boot }) => store.findDrops({ server: name, boot }),
    onKeyChanged(payload) {
      const { streamId, drop: deleted } = JSON.parse(payload) as KeyNotification;
      expiry.arm();
      sweeper.arm();
      news.streamIds.add(streamId);
      for (const hash of keys.forgetStream(streamId)) news.hashes.add(hash);
      if (deleted !== undefined) news.drops.push(deleted);
      follow(followNews);
    },
    onListening() {
      sweeper.hold();
      expiry.arm();
      void outage.reconcile(); // never rejects
      // At the start nobody is connected; whoever connects then is told what it missed.
      follow(hasListened ? followAll : noteAll);
      hasListened = true;
    },
    stop() {
      isStopped = true;
      if (retry !== null) clearTimeout(retry);
      sweeper.stop();
      expiry.stop();
      gate.stop();
    },
  };
}
