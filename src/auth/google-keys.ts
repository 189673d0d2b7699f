import { createPublicKey, type JsonWebKey } from "node:crypto";
import {
  createRemoteJWKSet,
  customFetch,
  errors,
  type FetchImplementation,
  type JWTVerifyGetKey,
  type RemoteJWKSet,
} from "jose";
import { z } from "zod";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";

/*
 * The public keys of Firebase ID tokens. jose downloads them, once for all tokens that wait. This file says when: as often
 * as Google's Cache-Control wants, and for a key id that nobody knows. The keys serve six hours longer while Google is
 * away, and after a failure Google is left alone for ten seconds. All waits run on the monotonic clock: those of jose run
 * on the wall clock, and are switched off.
 */

const GOOGLE_KEYS = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com";
const TIMEOUT_MS = 3000;
const RETRY_MS = 10_000;
/** An unknown key id leads to a download at most this often: anybody can send one. */
const UNKNOWN_KEY_COOLDOWN_MS = 30_000;
/** Used when the answer has no max-age. Google's says about six hours. */
const DEFAULT_MAX_AGE_MS = 3600 * 1000;
const MAX_AGE_LIMIT_MS = 24 * 3600 * 1000;
/** How long keys that are due serve while Google is away. Google changes its keys about once a day. */
const GRACE_MS = 6 * 3600 * 1000;

const KeySet = z.object({
  keys: z.array(z.looseObject({ kid: z.string().min(1) }).refine(isRsaKey, { error: "expected an RSA key" })).min(1),
});

export interface GoogleKeysParts {
  /** Where the keys are published, if not at Google. */
  url: URL | undefined;
  metrics: Pick<Metrics, "googleRequests">;
  logger: Logger;
}

export class GoogleKeys {
  readonly #parts: GoogleKeysParts;
  readonly #keys: RemoteJWKSet;
  /** When the keys were downloaded last, and when they are due again. */
  #downloadedAtMs = Number.NEGATIVE_INFINITY;
  #dueAtMs = Number.NEGATIVE_INFINITY;
  /** When to try again after a failure; 0 if the last download succeeded. */
  #retryAtMs = 0;

  /** Starts the first download. */
  constructor(parts: GoogleKeysParts) {
    this.#parts = parts;
    this.#keys = createRemoteJWKSet(parts.url ?? new URL(GOOGLE_KEYS), {
      timeoutDuration: TIMEOUT_MS,
      cooldownDuration: Infinity, // `find` decides
      cacheMaxAge: Infinity, // `#refresh` decides
      [customFetch]: (url, options) => this.#download(url, options),
    });
    // Logged already; the first token tries again.
    this.#refresh().catch(() => undefined);
  }

  /**
   * Finds the key that a token names, in the form that `jwtVerify` takes.
   * @throws AppError `unauthenticated` if the token names no key; `unavailable` without keys that are fresh enough
   */
  readonly find: JWTVerifyGetKey = async (header, token) => {
    if (!header.kid) throw new AppError("unauthenticated", "The token's `kid` is missing; get another from Firebase.");
    await this.#refresh();
    try {
      return await this.#keys(header, token);
    } catch (error) {
      const isCoolingDown = performance.now() < this.#downloadedAtMs + UNKNOWN_KEY_COOLDOWN_MS;
      if (isCoolingDown || !(error instanceof errors.JWKSNoMatchingKey)) throw error;
      await this.#keys.reload();
      return this.#keys(header, token);
    }
  };

  async #refresh(): Promise<void> {
    if (performance.now() < this.#dueAtMs) return;
    const downloaded = this.#keys.reload();
    if (performance.now() >= this.#dueAtMs + GRACE_MS) return downloaded;
    const ignored = downloaded.catch(() => undefined);
    // While Google is known to be away, nobody waits to find that out again.
    if (this.#retryAtMs === 0) await ignored;
  }

  /** @throws AppError `unavailable` */
  async #download(...[url, options]: Parameters<FetchImplementation>): Promise<Response> {
    const { metrics, logger } = this.#parts;
    if (performance.now() < this.#retryAtMs) throw this.#unavailable();
    try {
      const response = await fetch(url, options);
      if (response.status !== 200) throw new Error(`Google answered ${response.status}`);
      const keys = KeySet.parse(await response.json());
      this.#downloadedAtMs = performance.now();
      this.#dueAtMs = this.#downloadedAtMs + toMaxAgeMs(response.headers.get("cache-control"));
      this.#retryAtMs = 0;
      metrics.googleRequests.inc({ request: "certificates", outcome: "ok" });
      return Response.json(keys);
    } catch (error) {
      this.#retryAtMs = performance.now() + RETRY_MS;
      metrics.googleRequests.inc({ request: "certificates", outcome: "failed" });
      logger.warn({ err: error }, "Google's public keys could not be fetched");
      throw this.#unavailable(error);
    }
  }

  #unavailable(cause?: unknown): AppError {
    return new AppError("unavailable", "Google's public keys cannot be fetched, so the token cannot be checked now.", {
      retryAfterMs: Math.max(1000, this.#retryAtMs - performance.now()),
      cause,
    });
  }
}

function toMaxAgeMs(cacheControl: string | null): number {
  const seconds = /(?:^|[\s,])max-age=(\d+)/i.exec(cacheControl ?? "")?.[1];
  return seconds === undefined ? DEFAULT_MAX_AGE_MS : Math.min(Number(seconds) * 1000, MAX_AGE_LIMIT_MS);
}

/** Checked at the download: a token whose key cannot be read would fail as if this server had an error. */
function isRsaKey(jwk: object): boolean {
  try {
    return createPublicKey({ key: jwk as JsonWebKey, format: "jwk" }).asymmetricKeyType === "rsa";
  } catch {
    return false;
  }
}
