import { toUnavailable } from "../db/unavailable.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { answered } from "./answer-deadline.ts";
import type { Outage } from "./claims/outage.ts";
import type { KeyCache } from "./keys/key-cache.ts";
import { type KeyRefusal, refusalOf } from "./keys/key-refusal.ts";
import { hashStreamKey, hashStreamKeyToHex } from "./keys/stream-key.ts";
import type { MediaServer, PublishedConnection, PublishGate } from "./publish-gate.ts";
import type { NginxControl } from "./sessions/nginx-control.ts";
import type { ConnectionOnServer } from "./sessions/session-read-sql.ts";
import type { SessionOwner, SessionStore } from "./sessions/session-store.ts";
import type { SessionSweeper } from "./sessions/session-sweeper.ts";
import type { StatsWriter } from "./sessions/stats-writer.ts";
import { assertStorable } from "./storable-texts.ts";

export interface SessionReportsParts {
  keys: KeyCache;
  store: SessionStore;
  stats: StatsWriter;
  outage: Outage;
  sweeper: SessionSweeper;
  nginx: NginxControl;
  logger: Logger;
}

/**
 * Takes reports of sessions after their admission. Reports of a provisional session go to the outage, all others to
 * the store.
 */
export function createSessionReports(
  { keys, store, stats, outage, sweeper, nginx, logger }: SessionReportsParts,
  { leaseSeconds }: { leaseSeconds: number },
): Pick<PublishGate, "started" | "report" | "ended" | "update" | "unpublish"> {
  function isProvisional(server: MediaServer, sessionId: string): boolean {
    return outage.find(toOwner(server), sessionId) !== null;
  }

  function cachedRefusal(streamKey: string | null): KeyRefusal | null {
    const known = streamKey === null ? undefined : keys.find(hashStreamKeyToHex(streamKey));
    if (known === undefined) return null;
    const { status, expiresAt } = known.stream;
    return refusalOf({ status, isExpired: expiresAt !== null && Date.parse(expiresAt) <= Date.now() });
  }

  return {
    async started(server, sessionId) {
      assertStorable({ sessionId });
      if (isProvisional(server, sessionId)) return outage.start(sessionId);
      const stream = await attempt(() => store.start(toOwner(server), sessionId, leaseSeconds));
      sweeper.arm();
      return stream;
    },

    async report(server, sessionId, figures) {
      assertStorable({ sessionId });
      if (isProvisional(server, sessionId)) return outage.report(sessionId, figures);
      const key = toStatsKey(server, sessionId);
      try {
        await attempt(() =>
          stats.report(key, figures, (merged) => store.report(toOwner(server), sessionId, merged, leaseSeconds)),
        );
      } catch (error) {
        // A known session goes on while the database is away or slow.
        if (!isUnavailable(error) || !stats.knows(key)) throw error;
      }
      outage.heardOf({ sessionId });
    },

    async ended(server, sessionId, reason = "ended") {
      assertStorable({ sessionId, reason });
      if (isProvisional(server, sessionId)) return outage.end(sessionId, reason);
      const key = toStatsKey(server, sessionId);
      const stream = await attempt(async () => {
        await stats.flush(key);
        return store.end(toOwner(server), sessionId, reason);
      });
      stats.forget(key);
      outage.letGo({ sessionId });
      sweeper.arm();
      return stream;
    },

    async update(server, connection, figures, { everySeconds } = { everySeconds: 0 }) {
      const { app = "", streamKey, connectionId } = connection;
      const provisional = outage.findByConnection(server.name, connectionId);
      if (provisional !== null) outage.report(provisional, figures);
      if (streamKey !== null) nginx.remember(server.name, connectionId, { app, name: streamKey });
      outage.heardOf({ server: server.name, connection: connectionId });
      // Three intervals: an update that comes late does not cost the lease.
      const seconds = Math.max(leaseSeconds, 3 * everySeconds);
      try {
        return await answered(store.reportConnection(toConnection(server, connection), figures, seconds));
      } catch (error) {
        logger.debug({ err: error, server: server.name }, "a publisher's update could not be written");
        return cachedRefusal(streamKey);
      }
    },

    async unpublish(server, connection, reason) {
      nginx.forget(server.name, connection.connectionId);
      const provisional = outage.findByConnection(server.name, connection.connectionId);
      if (provisional !== null) {
        outage.end(provisional, reason);
        return;
      }
      const at = toConnection(server, connection);
      outage.letGo(at);
      try {
        await answered(store.endConnection(at, reason));
        sweeper.arm();
      } catch (error) {
        logger.info({ err: error, server: server.name }, "a publisher's end could not be written; it is written later");
        outage.keepEnd(at, reason);
      }
    },
  };
}

function toOwner({ name, boot }: MediaServer): SessionOwner {
  return { server: name, boot: boot ?? "" };
}

/** Holds the media server too: a report of another server for the same session is refused on its own account. */
function toStatsKey({ name, boot }: MediaServer, sessionId: string): string {
  return `${name}\u0000${boot}\u0000${sessionId}`;
}

function toConnection({ name }: MediaServer, { connectionId, streamKey }: PublishedConnection): ConnectionOnServer {
  return { server: name, connection: connectionId, keyHash: streamKey === null ? null : hashStreamKey(streamKey) };
}

function isUnavailable(error: unknown): boolean {
  return error instanceof AppError && error.code === "unavailable";
}

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await answered(work());
  } catch (error) {
    throw toUnavailable(error);
  }
}
