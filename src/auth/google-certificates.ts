import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import { type Agent, get } from "node:https";
import { text } from "node:stream/consumers";
import { z } from "zod";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";

/*
 * The certificates Google signs ID tokens with. firebase-admin fetches them itself, but once for every token that
 * waits, without a limit in time, forgets them when they are due, and reports a failure as a bad token. So they are
 * fetched and kept here, and firebase-admin is answered from here (certificate-agent.ts): one request for all who
 * wait, and while Google is away those that were last heard, for a while.
 */

const URL = "https://www.googleapis.com/robot/v1/metadata/x509/securetoken@system.gserviceaccount.com";
const TIMEOUT_MS = 3000;
const RETRY_MS = 10_000;
/** Where the answer does not say how long it is good. Google's says about six hours. */
const DEFAULT_MAX_AGE_MS = 3600 * 1000;
const MAX_AGE_LIMIT_MS = 24 * 3600 * 1000;
/** How long certificates serve past their time while Google is away: Google changes them about once a day. */
const GRACE_MS = 6 * 3600 * 1000;

/** Key id → PEM. */
export type Certificates = Readonly<Record<string, string>>;

const Answer = z
  .record(z.string().min(1), z.string().refine(isRsaCertificate))
  .refine((certificates) => Object.keys(certificates).length > 0);

export interface GoogleCertificatesParts {
  /** How to reach Google, where not directly. */
  httpAgent: Agent | undefined;
  metrics: Pick<Metrics, "googleRequests">;
  logger: Logger;
}

export class GoogleCertificates {
  readonly #parts: GoogleCertificatesParts;
  #held: { certificates: Certificates; dueAtMs: number } | null = null;
  #fetching: Promise<void> | null = null;
  /** When to try again after a failure; 0 where the last attempt succeeded. */
  #retryAtMs = 0;

  constructor(parts: GoogleCertificatesParts) {
    this.#parts = parts;
  }

  /** What is held, due or not; nothing before the first `load`. */
  get held(): Certificates {
    return this.#held?.certificates ?? {};
  }

  /** Gives the certificates. @throws AppError `unavailable` where there are none, or only ones too old to trust */
  async load(): Promise<Certificates> {
    if (this.#isWithin(0)) return this.held;
    const refreshed = Date.now() >= this.#retryAtMs ? this.#refresh() : this.#fetching;
    // Google is known to be away: nobody waits to find that out again.
    if (this.#retryAtMs !== 0 && this.#isWithin(GRACE_MS)) return this.held;
    await refreshed;
    if (this.#isWithin(GRACE_MS)) return this.held;
    throw new AppError("unavailable", "Google's certificates cannot be fetched, so no token can be checked now.", {
      retryAfterMs: Math.max(1000, this.#retryAtMs - Date.now()),
    });
  }

  #isWithin(graceMs: number): boolean {
    return this.#held !== null && Date.now() < this.#held.dueAtMs + graceMs;
  }

  /** Never rejects. */
  #refresh(): Promise<void> {
    this.#fetching ??= this.#fetch().finally(() => {
      this.#fetching = null;
    });
    return this.#fetching;
  }

  async #fetch(): Promise<void> {
    const { httpAgent, metrics, logger } = this.#parts;
    try {
      const { certificates, maxAgeMs } = await fetchCertificates(httpAgent);
      this.#held = { certificates, dueAtMs: Date.now() + maxAgeMs };
      this.#retryAtMs = 0;
      metrics.googleRequests.inc({ request: "certificates", outcome: "ok" });
    } catch (error) {
      this.#retryAtMs = Date.now() + RETRY_MS;
      metrics.googleRequests.inc({ request: "certificates", outcome: "failed" });
      logger.warn({ err: error }, "Google's certificates could not be fetched");
    }
  }
}

async function fetchCertificates(agent: Agent | undefined): Promise<{ certificates: Certificates; maxAgeMs: number }> {
  const request = get(URL, { ...(agent === undefined ? {} : { agent }), signal: AbortSignal.timeout(TIMEOUT_MS) });
  // Once the answer has begun nobody else hears of it, and it would end the process; the body fails with it.
  request.on("error", () => undefined);
  const [response] = (await once(request, "response")) as [IncomingMessage];
  const body = await text(response);
  if (response.statusCode !== 200) throw new Error(`Google answered ${response.statusCode}`);
  const answer = Answer.safeParse(parseJson(body));
  if (!answer.success) throw new Error("what Google answered holds no certificates");
  return { certificates: answer.data, maxAgeMs: toMaxAgeMs(response.headers["cache-control"]) };
}

function parseJson(body: string): unknown {
  try {
    return JSON.parse(body);
  } catch {
    return null;
  }
}

function toMaxAgeMs(cacheControl: string | undefined): number {
  const seconds = /(?:^|[\s,])max-age=(\d+)/i.exec(cacheControl ?? "")?.[1];
  return seconds === undefined ? DEFAULT_MAX_AGE_MS : Math.min(Number(seconds) * 1000, MAX_AGE_LIMIT_MS);
}

/** Checked here, so that what firebase-admin refuses is the token's fault and never the certificates'. */
function isRsaCertificate(pem: string): boolean {
  try {
    return new X509Certificate(pem).publicKey.asymmetricKeyType === "rsa";
  } catch {
    return false;
  }
}
