import { setTimeout as pause } from "node:timers/promises";
import type { Auth, UserRecord } from "firebase-admin/auth";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { withinTime } from "../within-time.ts";

/*
 * Whether Firebase still accepts a user's tokens: the user may be disabled or deleted, and each revocation moves
 * `tokensValidAfterTime`. Firebase is asked once a minute per user at most. One request asks for up to a hundred
 * users, because after a restart all users come back within seconds.
 */

const GOOD_FOR_MS = 60_000;
/**
 * How long an answer counts while Firebase cannot be asked. An ID token lives an hour, so a revoked user is out by
 * then without any check.
 */
const GRACE_MS = 3600 * 1000;
/** How long a caller waits for the answer. Firebase's library waits for 25 s, and tries again. */
const TIMEOUT_MS = 3000;
const RETRY_MS = 10_000;
/** How long a request waits for more users. */
const GATHER_MS = 10;
/** Firebase's limit for one request. */
const MAX_USERS = 100;
/** Standings kept in one process, about 200 bytes each. */
const MAX_KEPT = 100_000;

interface Standing {
  state: "active" | "disabled" | "deleted";
  /** Tokens of sign-ins before this instant are revoked. */
  validSinceMs: number;
  /** By the monotonic clock, like all waits here: a wall clock that is set back would let a disabled user in for longer. */
  askedAtMs: number;
}

export interface UserStandingsParts {
  auth: Pick<Auth, "getUsers">;
  metrics: Pick<Metrics, "googleRequests">;
  logger: Logger;
}

export class UserStandings {
  readonly #parts: UserStandingsParts;
  /** Ordered by `askedAtMs`: the oldest are at the front. */
  readonly #standings = new Map<string, Standing>();
  readonly #asking = new Map<string, Promise<void>>();
  /** The request that still takes more users. */
  #gathering: { userIds: string[]; sent: Promise<void> } | null = null;
  /** When to try again after a failure; 0 if the last request succeeded. */
  #retryAtMs = 0;

  constructor(parts: UserStandingsParts) {
    this.#parts = parts;
  }

  /**
   * Accepts a user whose sign-in at `signedInAtMs` still counts.
   * @throws AppError `unauthenticated`; `unavailable` if Firebase cannot be asked
   */
  async assertGood(userId: string, signedInAtMs: number): Promise<void> {
    const { state, validSinceMs } = await this.#load(userId);
    if (state === "disabled") throw new AppError("unauthenticated", "The user is disabled.");
    if (state === "deleted") throw new AppError("unauthenticated", "The user no longer exists.");
    if (signedInAtMs < validSinceMs) {
      throw new AppError("unauthenticated", "The token was revoked; sign in again.");
    }
  }

  async #load(userId: string): Promise<Standing> {
    const known = this.#find(userId, GOOD_FOR_MS);
    if (known !== undefined) return known;
    const asked = performance.now() >= this.#retryAtMs ? this.#ask(userId) : this.#asking.get(userId);
    // While Firebase is known to be away, a user with an earlier answer does not wait to find that out again.
    const earlier = this.#find(userId, GRACE_MS);
    if (this.#retryAtMs !== 0 && earlier !== undefined) return earlier;
    if (asked !== undefined) await this.#waitFor(asked);
    const standing = this.#find(userId, GRACE_MS);
    if (standing !== undefined) return standing;
    throw new AppError("unavailable", "Firebase cannot be asked whether the token was revoked; try again.", {
      retryAfterMs: Math.max(1000, this.#retryAtMs - performance.now()),
    });
  }

  #find(userId: string, maxAgeMs: number): Standing | undefined {
    const standing = this.#standings.get(userId);
    return standing !== undefined && performance.now() - standing.askedAtMs < maxAgeMs ? standing : undefined;
  }

  /** Never rejects. An answer that takes too long counts as a failure. */
  async #waitFor(asked: Promise<void>): Promise<void> {
    await withinTime(asked, TIMEOUT_MS, () => new Error("Firebase did not answer in time")).catch(() => {
      this.#retryAtMs = performance.now() + RETRY_MS;
    });
  }

  /** Never rejects. */
  #ask(userId: string): Promise<void> {
    const asked = this.#asking.get(userId);
    if (asked !== undefined) return asked;
    if (this.#gathering === null || this.#gathering.userIds.length >= MAX_USERS) this.#gathering = this.#gather();
    this.#gathering.userIds.push(userId);
    this.#asking.set(userId, this.#gathering.sent);
    return this.#gathering.sent;
  }

  #gather(): { userIds: string[]; sent: Promise<void> } {
    const userIds: string[] = [];
    const sent = pause(GATHER_MS).then(async () => {
      if (this.#gathering?.userIds === userIds) this.#gathering = null;
      await this.#request(userIds);
      for (const userId of userIds) this.#asking.delete(userId);
    });
    return { userIds, sent };
  }

  async #request(userIds: string[]): Promise<void> {
    const { auth, metrics, logger } = this.#parts;
    const askedAtMs = performance.now();
    try {
      const { users } = await auth.getUsers(userIds.map((uid) => ({ uid })));
      const found = new Map(users.map((user) => [user.uid, user]));
      for (const userId of userIds) this.#keep(userId, { ...toStanding(found.get(userId)), askedAtMs });
      this.#retryAtMs = 0;
      metrics.googleRequests.inc({ request: "users", outcome: "ok" });
    } catch (error) {
      this.#retryAtMs = performance.now() + RETRY_MS;
      metrics.googleRequests.inc({ request: "users", outcome: "failed" });
      logger.warn({ err: error }, "Firebase could not be asked which tokens were revoked");
    }
  }

  /** Also forgets the oldest standings, if they are too old or too many. */
  #keep(userId: string, standing: Standing): void {
    this.#standings.delete(userId);
    this.#standings.set(userId, standing);
    for (const [oldest, { askedAtMs }] of this.#standings) {
      if (this.#standings.size <= MAX_KEPT && performance.now() - askedAtMs < GRACE_MS) break;
      this.#standings.delete(oldest);
    }
  }
}

function toStanding(user: UserRecord | undefined): Pick<Standing, "state" | "validSinceMs"> {
  if (user === undefined) return { state: "deleted", validSinceMs: 0 };
  const validSinceMs = Date.parse(user.tokensValidAfterTime ?? "");
  return { state: user.disabled ? "disabled" : "active", validSinceMs: Number.isNaN(validSinceMs) ? 0 : validSinceMs };
}
