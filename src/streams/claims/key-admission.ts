import { randomUUID } from "node:crypto";
import { toUnavailable } from "../../db/unavailable.ts";
import { AppError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { Metrics, Tally } from "../../metrics/metrics.ts";
import { REFUSALS, type Refusal, type Verdict } from "../../protocol/stream.ts";
import { answered, isAway } from "../answer-deadline.ts";
import type { KeyCache } from "../keys/key-cache.ts";
import { hashStreamKeyToHex } from "../keys/stream-key.ts";
import type { WrongKeys } from "../keys/wrong-keys.ts";
import type { MediaServer, PublishRequest } from "../publish-gate.ts";
import type { SessionDrop } from "../sessions/session-drop.ts";
import type { SessionSweeper } from "../sessions/session-sweeper.ts";
import { assertStorable } from "../storable-texts.ts";
import type { Claim, ClaimResult } from "./claim.ts";
import type { ClaimQueue } from "./claim-queue.ts";
import type { KeyClaim } from "./claim-waiters.ts";
import { RESERVATION_SECONDS } from "./claim-write-sql.ts";
import type { Outage } from "./outage.ts";

export interface KeyAdmissionParts {
  keys: KeyCache;
  claims: Pick<ClaimQueue, "ask">;
  outage: Outage;
  sweeper: SessionSweeper;
  wrongKeys: WrongKeys;
  /** Resolves when the media server was told, as far as it can be. */
  drop: (drop: SessionDrop) => Promise<void>;
  metrics: Metrics;
  logger: Logger;
}

/** Decides whether a key may publish, by the database or, while the database is away, by what is cached. */
export class KeyAdmission {
  readonly #parts: KeyAdmissionParts;
  readonly #tallies: Record<"valid" | Refusal, Tally>;

  constructor(parts: KeyAdmissionParts) {
    this.#parts = parts;
    this.#tallies = tallyVerdicts(parts.metrics);
  }

  /**
   * Called for every check of a key, so every promise counts: there are two where all goes well.
   * @throws AppError as `PublishGate.validate`; `bad_request` for a text that PostgreSQL cannot hold
   */
  admit(
    server: MediaServer,
    request: PublishRequest,
    { starts, leaseSeconds, mayOust }: Pick<Claim, "starts" | "leaseSeconds" | "mayOust">,
  ): Promise<Verdict> {
    try {
      assertStorable(request);
    } catch (error) {
      return Promise.reject(this.#failed(error));
    }
    const { keys, outage, claims } = this.#parts;
    const hash = hashStreamKeyToHex(request.streamKey);
    const claim: KeyClaim = {
      server: server.name,
      boot: server.boot,
      connection: request.connectionId,
      app: request.app ?? null,
      clientIp: request.clientIp ?? null,
      protocol: request.protocol ?? null,
      starts,
      leaseSeconds,
      mayOust,
    };
    const known = keys.find(hash);
    // Where the database is back, but the session that was admitted meanwhile is not written yet.
    const again = known === undefined ? null : outage.again(known.stream.id, claim);
    if (again !== null) return Promise.resolve(this.#counted(again));
    const settling = known === undefined ? null : outage.settle(known.stream.id, hash);
    const asked = settling === null ? claims.ask(hash, claim) : answered(settling).then(() => claims.ask(hash, claim));
    return asked.then(
      (result) => (result.valid ? this.#admitted(claim, result) : this.#refused(claim, result)),
      (error: unknown) => this.#counted(this.#judgeByCache(hash, claim, error)),
    );
  }

  #admitted(claim: KeyClaim, result: ClaimResult & { valid: true }): Verdict | Promise<Verdict> {
    const { outage, sweeper, drop } = this.#parts;
    const { ousted, sessionId, stream, lifetimeMs } = result;
    const { server, connection, leaseSeconds } = claim;
    outage.holds(stream.id, { server, connection, leaseSeconds, sessionId });
    sweeper.arm(1000 * (claim.starts ? leaseSeconds : RESERVATION_SECONDS));
    const verdict = this.#counted({ valid: true, stream, sessionId, lifetimeMs });
    // The drop comes before the answer: nginx takes no second publisher of a name while the first is connected.
    return ousted === null ? verdict : drop(ousted).then(() => verdict);
  }

  #refused({ server, clientIp }: KeyClaim, verdict: ClaimResult & { valid: false }): Verdict {
    const refusal = verdict.reason === "unknown" ? this.#parts.wrongKeys.count(server, clientIp) : null;
    if (refusal !== null) throw this.#failed(refusal);
    return this.#counted(verdict);
  }

  /** @throws the error, where the database is there or the key is not cached */
  #judgeByCache(hash: string, claim: KeyClaim, error: unknown): Verdict {
    const { keys, outage, logger } = this.#parts;
    const known = isAway(error) ? keys.find(hash) : undefined;
    if (known === undefined) throw this.#failed(error);
    const streamId = known.stream.id;
    logger.info({ streamId, server: claim.server }, "the database is away; a known key is judged by the cache");
    try {
      return outage.admit(known, { ...claim, sessionId: randomUUID(), streamId, keyHash: Buffer.from(hash, "hex") });
    } catch (refusal) {
      throw this.#failed(refusal);
    }
  }

  #counted(verdict: Verdict): Verdict {
    this.#tallies[verdict.valid ? "valid" : verdict.reason].inc();
    return verdict;
  }

  #failed(error: unknown): unknown {
    const failure = toUnavailable(error);
    const outcome = failure instanceof AppError ? failure.code : "internal";
    this.#parts.metrics.streamValidations.inc({ outcome });
    return failure;
  }
}

function tallyVerdicts({ streamValidations }: Metrics): Record<"valid" | Refusal, Tally> {
  const tally = (outcome: "valid" | Refusal) => [outcome, streamValidations.tally({ outcome })] as const;
  return Object.fromEntries([...REFUSALS, "valid" as const].map(tally)) as Record<"valid" | Refusal, Tally>;
}
