import { randomUUID } from "node:crypto";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics, Tally } from "../metrics/metrics.ts";
import { isStorableText } from "../protocol/ids.ts";
import { REFUSALS, type Refusal, type Verdict } from "../protocol/stream.ts";
import { answered } from "./answer-time.ts";
import type { Claim, ClaimResult, Drop } from "./claims/claim.ts";
import { refusalOf } from "./claims/claim-decision.ts";
import type { ClaimQueue, KeyClaim } from "./claims/claim-queue.ts";
import { RESERVATION_SECONDS } from "./claims/claim-write-sql.ts";
import type { Outage } from "./claims/outage.ts";
import { isAway } from "./is-away.ts";
import type { KeyCache } from "./keys/key-cache.ts";
import { hashStreamKey, hashStreamKeyToHex } from "./keys/stream-key.ts";
import type { WrongKeys } from "./keys/wrong-keys.ts";
import type { MediaServer, PublishedConnection, PublishGate, PublishRequest } from "./publish-gate.ts";
import type { NginxControl } from "./sessions/nginx-control.ts";
import type { ConnectionOnServer } from "./sessions/session-read-sql.ts";
import type { SessionStore } from "./sessions/session-store.ts";
import type { SessionSweeper } from "./sessions/session-sweeper.ts";
import { StatsWriter } from "./sessions/stats-writer.ts";

export interface PublishGateParts {
  keys: KeyCache;
  claims: Pick<ClaimQueue, "ask">;
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

type Admission = Pick<Claim, "starts" | "leaseSeconds" | "mayOust">;

export function createPublishGate(
  parts: PublishGateParts,
  options: PublishGateOptions,
): PublishGate & { stop(): void } {
  const { keys, claims, store, outage, sweeper, wrongKeys, nginx, metrics, logger } = parts;
  const stats = new StatsWriter({ logger });
  const tallies = tallyVerdicts(metrics);

  /** Asked so often that every promise counts: two, where all goes well. */
  function admit(server: MediaServer, request: PublishRequest, how: Admission): Promise<Verdict> {
    try {
      assertStorable(request);
    } catch (error) {
      return Promise.reject(failed(error));
    }
    const hash = hashStreamKeyToHex(request.streamKey);
    const claim: KeyClaim = {
      server: server.name,
      boot: server.boot,
      connection: request.connectionId,
      app: request.app ?? null,
      clientIp: request.clientIp ?? null,
      protocol: request.protocol ?? null,
      starts: how.starts,
      leaseSeconds: how.leaseSeconds,
      mayOust: how.mayOust,
    };
    const known = keys.find(hash);
    // The database is back, and what was admitted meanwhile is still to be written.
    const again = known === undefined ? null : outage.again(known.stream.id, claim);
    if (again !== null) return Promise.resolve(counted(again));
    return claims.ask(hash, claim).then(
      (result) => (result.valid ? admitted(claim, result) : refused(claim, result)),
      (error: unknown) => counted(judgeByCache(hash, claim, error)),
    );
  }

  function admitted(claim: KeyClaim, result: ClaimResult & { valid: true }): Verdict | Promise<Verdict> {
    const { ousted, sessionId, stream, lifetimeMs } = result;
    const { server, connection, leaseSeconds } = claim;
    outage.holds(stream.id, { server, connection, leaseSeconds, sessionId });
    sweeper.arm(1000 * (claim.starts ? leaseSeconds : RESERVATION_SECONDS));
    const verdict = counted({ valid: true, stream, sessionId, lifetimeMs });
    // Before the answer: nginx takes no second publisher of a name while the first is there.
    return ousted === null ? verdict : parts.drop(ousted).then(() => verdict);
  }

  function refused({ server, clientIp }: KeyClaim, verdict: ClaimResult & { valid: false }): Verdict {
    const refusal = verdict.reason === "unknown" ? wrongKeys.count(server, clientIp) : null;
    if (refusal !== null) throw failed(refusal);
    return counted(verdict);
  }

  /** @throws the error, where the database is there, or the key is not known */
  function judgeByCache(hash: string, claim: KeyClaim, error: unknown): Verdict {
    const cached = isAway(error) ? keys.find(hash) : undefined;
    if (cached === undefined) throw failed(error);
    logger.info(
      { streamId: cached.stream.id, server: claim.server },
      "the database is away; a known key is judged by what is cached",
    );
    const keyHash = Buffer.from(hash, "hex");
    try {
      return outage.admit(cached, { ...claim, sessionId: randomUUID(), streamId: cached.stream.id, keyHash });
    } catch (refusal) {
      throw failed(refusal);
    }
  }

  function counted(verdict: Verdict): Verdict {
    tallies[verdict.valid ? "valid" : verdict.reason].inc();
    return verdict;
  }

  function failed(error: unknown): unknown {
    const failure = toUnavailable(error);
    metrics.streamValidations.inc({ outcome: failure instanceof AppError ? failure.code : "internal" });
    return failure;
  }

  function ownerOf(server: MediaServer): { server: string; boot: string } {
    return { server: server.name, boot: server.boot ?? "" };
  }

  function statsOf(server: MediaServer, sessionId: string): string {
    // Keyed by the server too: another one's report is its own to be refused.
    return `${server.name}\u0000${server.boot}\u0000${sessionId}`;
  }

  function locate(server: MediaServer, { connectionId, streamKey }: PublishedConnection): ConnectionOnServer {
    const keyHash = streamKey === null ? null : hashStreamKey(streamKey);
    return { server: server.name, connection: connectionId, keyHash };
  }

  return {
    validate: (server, request) =>
      admit(server, request, { starts: false, leaseSeconds: options.leaseSeconds, mayOust: "any" }),

    async publish(server, request, { reports }) {
      const name = { app: request.app ?? "", name: request.streamKey };
      const verdict = await admit(server, request, {
        starts: true,
        leaseSeconds: reports ? options.leaseSeconds : options.silentLeaseSeconds,
        mayOust: nginx.canDrop(server.name) ? "any" : "other servers",
      });
      if (verdict.valid) nginx.remember(server.name, request.connectionId, name);
      return verdict;
    },

    async started(server, sessionId) {
      assertStorable({ sessionId });
      if (outage.find(ownerOf(server), sessionId) !== null) return outage.start(sessionId);
      const stream = await attempt(() => store.start(ownerOf(server), sessionId, options.leaseSeconds));
      sweeper.arm();
      return stream;
    },

    async report(server, sessionId, figures) {
      assertStorable({ sessionId });
      if (outage.find(ownerOf(server), sessionId) !== null) return outage.report(sessionId, figures);
      const key = statsOf(server, sessionId);
      try {
        await attempt(() =>
          stats.report(key, figures, (merged) =>
            store.report(ownerOf(server), sessionId, merged, options.leaseSeconds),
          ),
        );
      } catch (error) {
        // One that is known goes on while the database is away, or takes long.
        if (!isAwayCode(error) || !stats.knows(key)) throw error;
      }
      outage.heardOf({ sessionId });
    },

    async ended(server, sessionId, reason = "ended") {
      assertStorable({ sessionId, reason });
      if (outage.find(ownerOf(server), sessionId) !== null) return outage.end(sessionId, reason);
      const key = statsOf(server, sessionId);
      const stream = await attempt(async () => {
        await stats.flush(key);
        return store.end(ownerOf(server), sessionId, reason);
      });
      stats.forget(key);
      outage.letGo({ sessionId });
      sweeper.arm();
      return stream;
    },

    async update(server, connection, figures, { everySeconds } = { everySeconds: 0 }) {
      const provisional = outage.findByConnection(server.name, connection);
      if (provisional !== null) outage.report(provisional, figures);
      const { app = "", streamKey, connectionId } = connection;
      if (streamKey !== null) nginx.remember(server.name, connectionId, { app, name: streamKey });
      outage.heardOf({ server: server.name, connection: connectionId });
      // One that comes late is not lost yet.
      const leaseSeconds = Math.max(options.leaseSeconds, 3 * everySeconds);
      try {
        return await answered(store.reportConnection(locate(server, connection), figures, leaseSeconds));
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
      const at = locate(server, connection);
      outage.letGo(at);
      try {
        await answered(store.endConnection(at, reason));
        sweeper.arm();
      } catch (error) {
        logger.info({ err: error, server: server.name }, "a publisher's end could not be written; it is kept");
        outage.keepEnd(at, reason);
      }
    },

    stop() {
      stats.stop();
      outage.stop();
    },
  };

  function cachedRefusal({ streamKey }: PublishedConnection) {
    const known = streamKey === null ? undefined : keys.find(hashStreamKeyToHex(streamKey));
    if (known === undefined) return null;
    const { status, expiresAt } = known.stream;
    return refusalOf({ status, isExpired: expiresAt !== null && Date.parse(expiresAt) <= Date.now() });
  }
}

/** @throws AppError `bad_request` for what PostgreSQL cannot hold */
function assertStorable(texts: {
  app?: unknown;
  clientIp?: unknown;
  protocol?: unknown;
  sessionId?: unknown;
  reason?: unknown;
}): void {
  for (const path of STORED) {
    const text = texts[path];
    if (typeof text !== "string" || isStorableText(text)) continue;
    const message = "expected no U+0000 and no lone surrogate";
    throw new AppError("bad_request", `${path}: ${message}`, { issues: [{ path, message }] });
  }
}

function tallyVerdicts({ streamValidations }: Metrics): Record<"valid" | Refusal, Tally> {
  const tally = (outcome: "valid" | Refusal) => [outcome, streamValidations.tally({ outcome })] as const;
  return Object.fromEntries([...REFUSALS, "valid" as const].map(tally)) as Record<"valid" | Refusal, Tally>;
}

const STORED = ["app", "clientIp", "protocol", "sessionId", "reason"] as const;

function isAwayCode(error: unknown): boolean {
  return error instanceof AppError && error.code === "unavailable";
}

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await answered(work());
  } catch (error) {
    throw toUnavailable(error);
  }
}
