import type { Config } from "../config.ts";
import { GatheredLoads } from "../db/gathered-loads.ts";
import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { ClaimQueue } from "./claims/claim-queue.ts";
import { ClaimWriter } from "./claims/claim-writer.ts";
import { Outage } from "./claims/outage.ts";
import { createPublishGate } from "./create-publish-gate.ts";
import { KeyChanges, type KeyNotification } from "./key-changes.ts";
import { KeyCache } from "./keys/key-cache.ts";
import { createKeyExpiry } from "./keys/key-expiry.ts";
import { readKnownKeys } from "./keys/known-key-sql.ts";
import { createWrongKeys } from "./keys/wrong-keys.ts";
import type { PublishGate } from "./publish-gate.ts";
import { toServerIdentity } from "./server-identity.ts";
import { DropTeller } from "./sessions/drop-teller.ts";
import { findDrops } from "./sessions/dropped-sessions-sql.ts";
import { createNginxControl } from "./sessions/nginx-control.ts";
import { SessionDeadlines } from "./sessions/session-deadlines.ts";
import type { SessionDrop } from "./sessions/session-drop.ts";
import { type SessionOwner, SessionStore } from "./sessions/session-store.ts";
import { SessionSweeper } from "./sessions/session-sweeper.ts";
import { findStreamIds } from "./stream-rows.ts";
import { createStreamService, type StreamService } from "./stream-service.ts";

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
  /** Tells the media server of the session, if it is connected to this process. */
  tell: (drop: SessionDrop) => void;
  metrics: Metrics;
  logger: Logger;
}

export interface Streams {
  service: StreamService;
  gate: PublishGate;
  exists(streamId: string): Promise<boolean>;
  /** The sessions that this media server has to drop, because they ended while it was not connected. */
  findDrops(server: { name: string; boot: string }): Promise<SessionDrop[]>;
  /** A notification of the channel `stream_keys`. @throws SyntaxError for a payload that no trigger sends */
  onKeyChanged(payload: string): void;
  /** The listener listens (again): notifications may have been lost, and the database may have been away. */
  onListening(): void;
  /** Resolves when nothing is being written any more of what waited for the database. */
  stop(): Promise<void>;
}

/** Builds keys, claims and sessions, and what watches over them. */
export function createStreams({ config, pool, tell, metrics, logger }: StreamsParts): Streams {
  const leaseSeconds = config.STREAM_LEASE_SECONDS;
  const defaults = { defaultReconnectSeconds: config.STREAM_RECONNECT_SECONDS };
  const keys = new KeyCache({ readKeys: (hashes) => readKnownKeys(pool, hashes) });
  const store = new SessionStore({ pool }, defaults);
  const writer = new ClaimWriter({ pool }, defaults);
  const controls = config.NGINX_CONTROL_URLS.map(({ server, url }) => ({
    server: toServerIdentity("nginx-rtmp", server),
    url,
  }));
  const nginx = createNginxControl(controls, { logger });
  const drops = new DropTeller({ tell, nginx, metrics });
  const sweeper = new SessionSweeper({ deadlines: new SessionDeadlines({ pool }, defaults), logger }, { leaseSeconds });
  const expiry = createKeyExpiry({ pool, logger });
  const outage = new Outage({
    claim: (claim) => writer.write(claim),
    store,
    logger,
    onDrop: (drop) => void drops.drop(drop),
  });
  const claims = new ClaimQueue({ pool, keys, writer, logger });
  const gate = createPublishGate(
    {
      ...{ keys, claims, store, outage, sweeper, nginx, metrics, logger },
      wrongKeys: createWrongKeys(),
      drop: (one) => drops.drop(one),
    },
    { leaseSeconds, silentLeaseSeconds: config.STREAM_SILENT_LEASE_SECONDS },
  );
  const changes = new KeyChanges({ keys, drops, findDrops: (of) => findDrops(pool, of), metrics, logger });
  const found = new GatheredLoads((ids) => findStreamIds(pool, ids));

  return {
    service: createStreamService({ pool }, { maxStreamsPerUser: config.MAX_STREAMS_PER_USER, ...defaults }),
    gate,
    exists: async (streamId) => (await found.load(streamId)).has(streamId),
    findDrops: ({ name, boot }) => findDrops(pool, { server: name, boot } satisfies SessionOwner),
    onKeyChanged(payload) {
      const notification = JSON.parse(payload) as KeyNotification;
      expiry.arm();
      sweeper.arm();
      changes.onNotified(notification);
    },
    onListening() {
      sweeper.hold();
      expiry.arm();
      void outage.reconcile(); // never rejects
      changes.onListening();
    },
    async stop() {
      changes.stop();
      sweeper.stop();
      expiry.stop();
      await gate.stop();
    },
  };
}
