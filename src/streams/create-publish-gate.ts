import { randomUUID } from "node:crypto";
import { isTransient } from "../db/sqlstate.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import type { StreamFigures, Verdict } from "../protocol/stream.ts";
import { refusalOf } from "./claim-decision.ts";
import type { KeyCache, KnownKey } from "./key-cache.ts";
import type { NginxControl } from "./nginx-control.ts";
import type { Outage } from "./outage.ts";
import type { MediaServer, PublishedConnection, PublishGate, PublishRequest } from "./publish-gate.ts";
import type { Claim, Drop, SessionStore } from "./session-store.ts";
import type { SessionSweeper } from "./session-sweeper.ts";
import { StatsWriter } from "./stats-writer.ts";
import { hashStreamKey } from "./stream-key.ts";
import type { WrongKeys } from "./wrong-keys.ts";

/** An answer is due by then, whatever the database does: nginx gives up after 10 s, and its encoder with it. */
const ANSWER_MS = 3000;

export interface PublishGateParts {
  keys: KeyCache;
  store: SessionStore;
  outage: Outage;
  sweeper: SessionSweeper;
  wrongKeys: WrongKeys;
  nginx: NginxControl;
  /** Resolves when the media server was told, as far as it can be. */
  drop: (drop: Drop) => Promise<void>;
  metrics: Metrics;
  logger: Logger;
}

export interface PublishGateOptions {
  leaseSeconds: number;
  /** Of sessions whose media server reports nothing between start and end. */
  silentLeaseSeconds: number;
}

interface Admission extends Pick<Claim, "starts" | "leaseSeconds" | "mayOust"> {
  server: MediaServer;
  request: PublishRequest;
}

export function createPublishGate(
  parts: PublishGateParts,
  options: PublishGateOptions,
): PublishGate & { stop(): void } {
  const { keys, store, outage, sweeper, wrongKeys, nginx, metrics, logger } = parts;
  const stats = new StatsWriter({ logger });

  async function admit(admission: Admission): Promise<Verdict> {
    try {
      const verdict = await decide(admission);
      metrics.streamValidations.inc({ outcome: verdict.valid ? "valid" : verdict.reason });
      sweeper.arm();
      return verdict;
    } catch (error) {
      const failure = toUnavailable(error);
      metrics.streamValidations.inc({ outcome: failure instanceof AppError ? failure.code : "internal" });
      throw failure;
    }
  }

  async function decide({ server, request, ...how }: Admission): Promise<Verdict> {
    const keyHash = hashStreamKey(request.streamKey);
    const cancel = new AbortController();
    const claim: Omit<Claim, "streamId"> = {
      ...how,
      sessionId: randomUUID(),
      keyHash,
      server: server.name,
      boot: server.boot,
      connection: request.connectionId,
      app: request.app ?? null,
      clientIp: request.clientIp ?? null,
      protocol: request.protocol ?? null,
      signal: cancel.signal,
    };
    const cached = keys.peek(keyHash);
    try {
      const verdict = await withinTime(claimWith(cached, claim), cancel);
      if (!verdict.valid && verdict.reason === "unknown") await wrongKeys.count(server.name, claim.clientIp);
      return verdict;
    } catch (error) {
      if (!isTransient(error) || cached == null) throw error;
      logger.info(
        { streamId: cached.stream.id, server: server.name },
        "the database is away; a known key is judged by what is cached",
      );
      return outage.admit(cached, { ...claim, streamId: cached.stream.id });
    }
  }

  async function claimWith(cached: KnownKey | null | undefined, claim: Omit<Claim, "streamId">): Promise<Verdict> {
    let known = cached === undefined ? await keys.load(claim.keyHash) : cached;
    for (let attempt = 1; known !== null; attempt += 1) {
      const result = await store.claim({ ...claim, streamId: known.stream.id });
      if (result.valid) {
        outage.holds(known.stream.id, claim);
        const { ousted, ...verdict } = result;
        // Before the answer: nginx takes no second publisher of a name while the first is there.
        if (ousted !== null) await parts.drop(ousted);
        return verdict;
      }
      if (result.reason !== "unknown" || attempt > 1) return result;
      // The cache was behind: the key may have moved on to another stream, or to none.
      known = await keys.load(claim.keyHash);
    }
    return { valid: false, reason: "unknown" };
  }

  function ownerOf(server: MediaServer): { server: string; boot: string } {
    return { server: server.name, boot: server.boot ?? "" };
  }

  /** The stream that a connection's key is of; null where it is nobody's, or not told. */
  async function streamIdOf(connection: PublishedConnection): Promise<string | null> {
    if (connection.streamKey === null) return null;
    const hash = hashStreamKey(connection.streamKey);
    const known = keys.peek(hash);
    return (known === undefined ? await keys.load(hash) : known)?.stream.id ?? null;
  }

  return {
    validate: (server, request) =>
      admit({ server, request, starts: false, leaseSeconds: options.leaseSeconds, mayOust: "any" }),

    async publish(server, request, { reports }) {
      const name = { app: request.app ?? "", name: request.streamKey };
      const verdict = await admit({
        server,
        request,
        starts: true,
        leaseSeconds: reports ? options.leaseSeconds : options.silentLeaseSeconds,
        mayOust: nginx.canDrop(server.name) ? "any" : "other servers",
      });
      if (verdict.valid) nginx.remember(server.name, request.connectionId, name);
      return verdict;
    },

    async started(server, sessionId) {
      if (outage.find(ownerOf(server), sessionId) !== null) return outage.start(sessionId);
      const stream = await attempt(() => store.start(ownerOf(server), sessionId, options.leaseSeconds));
      sweeper.arm();
      return stream;
    },

    async report(server, sessionId, figures) {
      if (outage.find(ownerOf(server), sessionId) !== null) return outage.report(sessionId, figures);
      // Keyed by the server too: another one's report is its own to be refused.
      await attempt(() =>
        stats.report(`${server.name}\u0000${server.boot}\u0000${sessionId}`, figures, async (merged) => {
          const { id } = await store.report(ownerOf(server), sessionId, merged, options.leaseSeconds);
          outage.heardOf(id);
        }),
      );
    },

    async ended(server, sessionId, reason = "ended") {
      if (outage.find(ownerOf(server), sessionId) !== null) return outage.end(sessionId, reason);
      const stream = await attempt(() => store.end(ownerOf(server), sessionId, reason));
      stats.forget(`${server.name}\u0000${server.boot}\u0000${sessionId}`);
      outage.letGo(stream.id);
      sweeper.arm();
      return stream;
    },

    async update(server, connection, figures, { everySeconds } = { everySeconds: 0 }) {
      const provisional = outage.findByConnection(server.name, connection);
      if (provisional !== null) outage.report(provisional, figures);
      const { app = "", streamKey, connectionId } = connection;
      if (streamKey !== null) nginx.remember(server.name, connectionId, { app, name: streamKey });
      try {
        return await withinTime(renew(server, connection, figures, everySeconds));
      } catch (error) {
        logger.debug({ err: error, server: server.name }, "a publisher's update could not be written");
        return cachedRefusal(connection);
      }
    },

    async unpublish(server, connection, reason) {
      nginx.forget(server.name, connection.connectionId);
      const provisional = outage.findByConnection(server.name, connection);
      if (provisional !== null) {
        outage.end(provisional, reason);
        return;
      }
      const at = { server: server.name, connection: connection.connectionId, streamId: null as string | null };
      try {
        at.streamId = await withinTime(streamIdOf(connection));
        if (at.streamId === null && connection.streamKey !== null) return;
        await withinTime(store.endConnection(at, reason));
        if (at.streamId !== null) outage.letGo(at.streamId);
        sweeper.arm();
      } catch (error) {
        logger.info({ err: error, server: server.name }, "a publisher's end could not be written; it is kept");
        if (at.streamId === null && connection.streamKey !== null) {
          at.streamId = keys.peek(hashStreamKey(connection.streamKey))?.stream.id ?? null;
        }
        outage.keepEnd(at, reason);
      }
    },

    stop() {
      stats.stop();
      outage.stop();
    },
  };

  async function renew(
    server: MediaServer,
    connection: PublishedConnection,
    figures: StreamFigures,
    everySeconds: number,
  ) {
    const streamId = await streamIdOf(connection);
    if (streamId === null && connection.streamKey !== null) return null;
    const at = { server: server.name, connection: connection.connectionId, streamId };
    if (streamId !== null) outage.heardOf(streamId);
    // One that comes late is not lost yet.
    return store.reportConnection(at, figures, Math.max(options.leaseSeconds, 3 * everySeconds));
  }

  function cachedRefusal({ streamKey }: PublishedConnection) {
    const known = streamKey === null ? null : keys.peek(hashStreamKey(streamKey));
    if (known == null) return null;
    const { status, expiresAt } = known.stream;
    return refusalOf({ status, isExpired: expiresAt !== null && Date.parse(expiresAt) <= Date.now() });
  }
}

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await withinTime(work());
  } catch (error) {
    throw toUnavailable(error);
  }
}

/** @throws AppError `unavailable` when time is up; what is under way is cancelled where it can be */
async function withinTime<T>(work: Promise<T>, cancel?: AbortController): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      const late = new Late();
      cancel?.abort(late);
      reject(late);
    }, ANSWER_MS);
  });
  try {
    return await Promise.race([work, timeUp]);
  } finally {
    clearTimeout(timer);
  }
}

/** Counts as a database that is away. */
class Late extends Error {
  readonly code = "ETIMEDOUT";
  constructor() {
    super(`the database has not answered within ${ANSWER_MS} ms`);
  }
}
