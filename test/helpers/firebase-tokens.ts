import { pino } from "pino";
import { vi } from "vitest";
import type { AdmitUser } from "../../src/auth/deleted-users.ts";
import { createFirebaseTokens, type FirebaseTokens } from "../../src/auth/firebase-tokens.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { FakeGoogle, idClaims, PROJECT_ID } from "./fake-google.ts";

/*
 * Verifiers of ID tokens that ask a fake Google, and tokens that nobody signed.
 */

export class FirebaseFixture {
  readonly google: FakeGoogle;
  #metrics = createMetrics();
  readonly #opened: FirebaseTokens[] = [];

  static async start(): Promise<FirebaseFixture> {
    return new FirebaseFixture(await FakeGoogle.start());
  }

  private constructor(google: FakeGoogle) {
    this.google = google;
  }

  open({
    checkRevoked = false,
    keysUrl = this.google.keysUrl,
    admit,
  }: {
    checkRevoked?: boolean;
    keysUrl?: URL;
    admit?: AdmitUser;
  } = {}): FirebaseTokens {
    const created = createFirebaseTokens({
      projectId: PROJECT_ID,
      credential: checkRevoked ? this.google.credential : Promise.resolve(null),
      keysUrl,
      httpAgent: this.google.agent,
      ...(admit === undefined ? {} : { admit }),
      metrics: this.#metrics,
      logger: pino({ level: "silent" }),
    });
    this.#opened.push(created);
    return created;
  }

  /** How many requests of this kind the verifiers have counted since the last reset. */
  async countRequests(request: string, outcome: string): Promise<number> {
    const { values } = await this.#metrics.googleRequests.get();
    return values.find(({ labels }) => labels.request === request && labels.outcome === outcome)?.value ?? 0;
  }

  /** Stops the verifiers, and brings back the clock, the environment and Google's state of the start. */
  async reset(): Promise<void> {
    vi.useRealTimers();
    vi.restoreAllMocks();
    vi.unstubAllEnvs();
    await Promise.all(this.#opened.splice(0).map((each) => each.stop()));
    this.#metrics = createMetrics();
    this.google.reset();
  }
}

/** Lets time pass by both clocks, and stops them. Timers go on. */
export function passTime(ms: number): void {
  const monotonicMs = performance.now() + ms;
  vi.spyOn(performance, "now").mockReturnValue(monotonicMs);
  setWallClock(ms);
}

/** Somebody sets the wall clock. By the other clock no time passes. */
export function setWallClock(byMs: number): void {
  vi.useFakeTimers({ now: Date.now() + byMs, toFake: ["Date"] });
}

/** This second, as tokens write it. */
export const now = () => Math.floor(Date.now() / 1000);

/** One part of a token. */
export function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

/** A token with this header and signature, whatever they are. */
export function forge(header: object, signature: string, payload: unknown = idClaims()): string {
  return [encode(header), encode(payload), signature].join(".");
}

/** The token with another role, under the old signature. */
export function tamper(token: string): string {
  const [header, payload, signature] = token.split(".");
  const changed = { ...JSON.parse(Buffer.from(payload ?? "", "base64url").toString()), role: "admin" };
  return [header, encode(changed), signature].join(".");
}
