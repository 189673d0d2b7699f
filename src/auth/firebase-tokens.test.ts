import { createPublicKey } from "node:crypto";
import { Agent } from "node:https";
import { SignJWT, UnsecuredJWT } from "jose";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeGoogle, idClaims, PROJECT_ID } from "../../test/helpers/fake-google.ts";
import { findFreePort } from "../../test/helpers/flow-server.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { createFirebaseTokens, type FirebaseTokens } from "./firebase-tokens.ts";

const SECOND_MS = 1000;
const HOUR_MS = 3600 * 1000;

let google: FakeGoogle;
/** Somebody who has keys of its own under the same ids. */
let stranger: FakeGoogle;
let tokens: FirebaseTokens;
let metrics: ReturnType<typeof createMetrics>;
const opened: FirebaseTokens[] = [];

beforeAll(async () => {
  [google, stranger] = await Promise.all([FakeGoogle.start(), FakeGoogle.start()]);
});

beforeEach(() => {
  metrics = createMetrics();
  tokens = open();
});

afterEach(async () => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
  await Promise.all(opened.splice(0).map((each) => each.stop()));
  google.reset();
});

afterAll(async () => {
  await Promise.all([google.stop(), stranger.stop()]);
});

function open({ checkRevoked = false } = {}): FirebaseTokens {
  const created = createFirebaseTokens({
    projectId: PROJECT_ID,
    credential: checkRevoked ? google.credential : Promise.resolve(null),
    httpAgent: google.agent,
    metrics,
    logger: pino({ level: "silent" }),
  });
  opened.push(created);
  return created;
}

/** Sets the clock, which goes by itself no more. */
function passTime(ms: number): void {
  vi.useFakeTimers({ now: Date.now() + ms, toFake: ["Date"] });
}

const now = () => Math.floor(Date.now() / 1000);

async function requests(request: string, outcome: string): Promise<number> {
  const { values } = await metrics.googleRequests.get();
  return values.find(({ labels }) => labels.request === request && labels.outcome === outcome)?.value ?? 0;
}

describe("ID tokens of Firebase", () => {
  it("tells who is calling until when", async () => {
    const exp = now() + 1234;
    expect(await tokens.verify(await google.sign({ exp }))).toEqual({
      userId: "alice",
      role: "learner",
      expiresAt: new Date(exp * 1000),
    });
  });

  it.each([
    ["instructor", "instructor"],
    ["admin", "admin"],
    ["learner", "learner"],
    [undefined, "learner"],
    [null, "learner"],
    ["superuser", "learner"],
    ["ADMIN", "learner"],
    ["admin ", "learner"],
    ["constructor", "learner"],
    [["admin"], "learner"],
    [{ admin: true }, "learner"],
    [true, "learner"],
    [2, "learner"],
  ])("takes the custom claim role %j for a %s", async (claim, role) => {
    expect((await tokens.verify(await google.sign({ role: claim }))).role).toBe(role);
  });

  const refused: [string, () => Promise<string> | string, RegExp][] = [
    ["one that has expired", () => google.sign({ exp: now() - 90 }), /expired/],
    ["another project's audience", () => google.sign({ aud: "another-project" }), /`aud`/],
    ["several audiences", () => google.sign({ aud: [PROJECT_ID] }), /`aud`/],
    ["another issuer", () => google.sign({ iss: "https://securetoken.google.com/another-project" }), /`iss`/],
    [
      "the issuer of session cookies",
      () => google.sign({ iss: `https://session.firebase.google.com/${PROJECT_ID}` }),
      /`iss`/,
    ],
    ["no issuer", () => google.sign({ iss: undefined }), /`iss`/],
    ["a key that is not published", () => google.sign({}, { kid: unpublish() }), /Google's keys/],
    ["somebody else's key under a published id", () => stranger.sign(), /Google's keys/],
    ["no signature (alg none)", () => new UnsecuredJWT(idClaims()).encode(), /`alg`/],
    ["no signature under a header that claims one", () => forge({ alg: "RS256", kid: "key-1" }, ""), /Google's keys/],
    ["an HMAC made with the public certificate", () => signWithCertificate(), /`alg`/],
    ["an HMAC made with the public key", () => signWithPublicKey(), /`alg`/],
    ["no key id", () => withHeader({ alg: "RS256" }), /`kid`/],
    ["an empty key id", () => withHeader({ alg: "RS256", kid: "" }), /`kid`/],
    [
      "a key id that is a name of Object.prototype",
      () => withHeader({ alg: "RS256", kid: "constructor" }),
      /Google's keys/,
    ],
    ["claims changed after signing", async () => tamper(await google.sign()), /Google's keys/],
    ["no subject", () => google.sign({ sub: undefined }), /`sub`/],
    ["an empty subject", () => google.sign({ sub: "" }), /`sub`/],
    ["a subject of 129 characters", () => google.sign({ sub: "x".repeat(129) }), /`sub`/],
    ["a subject with U+0000", () => google.sign({ sub: "a\u0000b" }), /`sub`/],
    ["a subject that is a number", () => google.sign({ sub: 7 as unknown as string }), /`sub`|malformed/],
    [
      "a token of the kind that Firebase sends without a subject",
      () => google.sign({ sub: undefined, event_type: "beforeSendSms" }),
      /`sub`/,
    ],
    ["no exp", () => google.sign({ exp: undefined }), /`exp`/],
    ["an issue two minutes from now", () => google.sign({ iat: now() + 120 }), /`iat`.*future/],
    ["a sign-in two minutes from now", () => google.sign({ auth_time: now() + 120 }), /`auth_time`.*future/],
    ["no sign-in", () => google.sign({ auth_time: undefined }), /`auth_time`/],
    ["a user of a tenant", () => google.sign({ firebase: { tenant: "t1" } }), /`firebase.tenant`/],
    ["an empty string", () => "", /malformed/],
    ["a long string", () => "x".repeat(5000), /malformed/],
    ["three empty parts", () => "..", /malformed/],
    ["a payload that is null", () => forge({ alg: "RS256", kid: "key-1" }, "x", null), /malformed/],
  ];

  it.each(refused)("refuses %s", async (_, make, message) => {
    const token = await make();
    await expect(tokens.verify(token)).rejects.toMatchObject({
      name: "AppError",
      code: "unauthenticated",
      message: expect.stringMatching(message),
    });
  });

  it("takes clocks that differ by half a minute", async () => {
    const ahead = await google.sign({ iat: now() + 30, auth_time: now() + 30 });
    await expect(tokens.verify(ahead)).resolves.toMatchObject({ userId: "alice" });
    const exp = now() - 30;
    // Past its end it has the tolerance left, or a socket would be closed as it opens.
    expect((await tokens.verify(await google.sign({ exp }))).expiresAt).toEqual(new Date((exp + 60) * 1000));
  });

  it("refuses a forged token that ended just now", async () => {
    for (const token of [await stranger.sign({ exp: now() - 5 }), tamper(await google.sign({ exp: now() - 5 }))]) {
      await expect(tokens.verify(token)).rejects.toMatchObject({ code: "unauthenticated" });
    }
  });

  it("takes no unsigned token while firebase-admin is told of an emulator", async () => {
    vi.stubEnv("FIREBASE_AUTH_EMULATOR_HOST", "127.0.0.1:9099");
    for (const token of [
      new UnsecuredJWT(idClaims()).encode(),
      forge({ alg: "none", kid: "key-1" }, ""),
      forge({ alg: "RS256", kid: "key-1" }, ""),
      await stranger.sign(),
    ]) {
      await expect(tokens.verify(token)).rejects.toMatchObject({ code: "unauthenticated" });
    }
  });

  it("never repeats the token in the error", async () => {
    const token = tamper(await google.sign({ sub: "secret-subject" }));
    const error = await tokens.verify(token).then(
      () => null,
      (thrown: Error) => thrown,
    );
    expect(error?.message).not.toContain("secret-subject");
    expect(error?.message).not.toContain(token.slice(0, 20));
  });

  function unpublish(): string {
    google.addKey("key-2");
    delete google.certificates["key-2"];
    return "key-2";
  }
  function signWithCertificate(): Promise<string> {
    return hmac(new TextEncoder().encode(google.certificates["key-1"]));
  }
  function signWithPublicKey(): Promise<string> {
    const pem = createPublicKey(google.certificates["key-1"] as string).export({ type: "spki", format: "pem" });
    return hmac(new TextEncoder().encode(pem as string));
  }
  function hmac(key: Uint8Array): Promise<string> {
    return new SignJWT(idClaims()).setProtectedHeader({ alg: "HS256", kid: "key-1" }).sign(key);
  }
  /** Signed right, but with another header. */
  async function withHeader(header: object): Promise<string> {
    const [, payload, signature] = (await google.sign()).split(".");
    return [encode(header), payload, signature].join(".");
  }
});

describe("Google's certificates", () => {
  it("are fetched once for all who wait, and again when they are due", async () => {
    const token = await google.sign();
    await Promise.all(Array.from({ length: 50 }, () => tokens.verify(token)));
    expect(google.asked.certificates).toBe(1);
    passTime(google.maxAgeSeconds * SECOND_MS - 20 * SECOND_MS);
    await tokens.verify(await google.sign());
    expect(google.asked.certificates).toBe(1);
    passTime(20 * SECOND_MS);
    await tokens.verify(await google.sign());
    expect(google.asked.certificates).toBe(2);
  });

  it("change their keys", async () => {
    const before = await google.sign();
    await tokens.verify(before);
    google.addKey("key-2");
    delete google.certificates["key-1"];
    passTime(google.maxAgeSeconds * SECOND_MS);
    await expect(tokens.verify(await google.sign({}, { kid: "key-2" }))).resolves.toBeTruthy();
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it.each(["fails", "rambles"] as const)("make tokens unavailable, not bad, while Google %s", async (manner) => {
    const token = await google.sign();
    await tokens.verify(token);
    google.manner = manner;
    const late = open();
    const failure = await late.verify(token).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "unavailable", retryAfterMs: expect.any(Number) });
    const { retryAfterMs } = failure as { retryAfterMs: number };
    expect(retryAfterMs).toBeLessThanOrEqual(10_000);
    // Google has its peace meanwhile.
    const asked = google.asked.certificates;
    await expect(late.verify(token)).rejects.toMatchObject({ code: "unavailable" });
    expect(google.asked.certificates).toBe(asked);
    expect(await requests("certificates", "failed")).toBe(1);

    google.manner = "answers";
    passTime(retryAfterMs);
    await expect(late.verify(token)).resolves.toMatchObject({ userId: "alice" });
  });

  it("are given up after three seconds of half an answer", async () => {
    google.manner = "stalls";
    const late = open();
    const startedAt = performance.now();
    await expect(late.verify(await google.sign())).rejects.toMatchObject({ code: "unavailable" });
    expect(performance.now() - startedAt).toBeLessThan(6000);
  });

  it("are given up where nobody listens", async () => {
    const gone = new Agent({ host: "127.0.0.1", port: Number(await findFreePort()) });
    const late = createFirebaseTokens({
      projectId: PROJECT_ID,
      credential: Promise.resolve(null),
      httpAgent: gone,
      metrics,
      logger: pino({ level: "silent" }),
    });
    opened.push(late);
    await expect(late.verify(await google.sign())).rejects.toMatchObject({ code: "unavailable" });
  });

  it("serve six hours past their time while Google is away, and no longer", async () => {
    await tokens.verify(await google.sign());
    google.manner = "fails";
    passTime(google.maxAgeSeconds * SECOND_MS + 5 * HOUR_MS);
    await expect(tokens.verify(await google.sign())).resolves.toBeTruthy();
    await expect(tokens.verify(tamper(await google.sign()))).rejects.toMatchObject({ code: "unauthenticated" });
    passTime(HOUR_MS);
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("revocation", () => {
  beforeEach(() => {
    tokens = open({ checkRevoked: true });
    google.users.set("alice", { validSince: now() - 3600 });
  });

  it("lets pass whose tokens count", async () => {
    await expect(tokens.verify(await google.sign())).resolves.toMatchObject({ userId: "alice" });
  });

  it.each([
    ["a revoked token", { validSince: now() - 10 }, /revoked/],
    ["a disabled user", { disabled: true }, /disabled/],
    ["a user who is gone", null, /no more/],
  ])("refuses %s", async (_, user, message) => {
    if (user === null) google.users.delete("alice");
    else google.users.set("alice", user);
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({
      code: "unauthenticated",
      message: expect.stringMatching(message),
    });
  });

  it("takes the token of a later sign-in", async () => {
    google.users.set("alice", { validSince: now() - 10 });
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(tokens.verify(await google.sign({ auth_time: now() - 10 }))).resolves.toBeTruthy();
  });

  it("is asked once a minute per user", async () => {
    await Promise.all(Array.from({ length: 20 }, async () => tokens.verify(await google.sign())));
    expect(google.asked.users).toEqual([["alice"]]);
    google.users.set("alice", { disabled: true });
    passTime(59 * SECOND_MS);
    await expect(tokens.verify(await google.sign())).resolves.toBeTruthy();
    passTime(2 * SECOND_MS);
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({ code: "unauthenticated" });
    expect(google.asked.users).toHaveLength(2);
  });

  it("is asked for a hundred users in a request", async () => {
    const users = Array.from({ length: 250 }, (_, i) => `user-${i}`);
    for (const user of users) google.users.set(user, {});
    google.users.set("user-7", { disabled: true });
    const signed = await Promise.all(users.map((sub) => google.sign({ sub })));
    const outcomes = await Promise.allSettled(signed.map((token) => tokens.verify(token)));
    expect(outcomes.flatMap(({ status }, i) => (status === "rejected" ? [users[i]] : []))).toEqual(["user-7"]);
    expect(google.asked.users.flat().sort()).toEqual(users.sort());
    expect(google.asked.users.every((asked) => asked.length <= 100)).toBe(true);
    expect(google.asked.users.length).toBeLessThan(20);
  });

  it("is not asked for a token that is bad anyway", async () => {
    await expect(tokens.verify(tamper(await google.sign()))).rejects.toMatchObject({ code: "unauthenticated" });
    expect(google.asked.users).toEqual([]);
  });

  it("while Firebase is away, goes by the last answer for an hour; whoever is new has to wait", async () => {
    google.users.set("bob", { disabled: true });
    await tokens.verify(await google.sign());
    await expect(tokens.verify(await google.sign({ sub: "bob" }))).rejects.toMatchObject({ code: "unauthenticated" });
    google.manner = "fails";
    passTime(30 * 60 * SECOND_MS);
    await expect(tokens.verify(await google.sign())).resolves.toBeTruthy();
    await expect(tokens.verify(await google.sign({ sub: "bob" }))).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(tokens.verify(await google.sign({ sub: "carol" }))).rejects.toMatchObject({
      code: "unavailable",
      retryAfterMs: expect.any(Number),
    });
    passTime(31 * 60 * SECOND_MS);
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({ code: "unavailable" });
  });

  it("is looked at again when Firebase is back", async () => {
    await tokens.verify(await google.sign());
    google.manner = "fails";
    passTime(61 * SECOND_MS);
    await tokens.verify(await google.sign());
    google.manner = "answers";
    google.users.set("alice", { disabled: true });
    passTime(11 * SECOND_MS);
    await vi.waitFor(async () =>
      expect(await tokens.verify(await google.sign()).catch((error: unknown) => error)).toMatchObject({
        code: "unauthenticated",
      }),
    );
  });

  it("keeps nobody waiting for more than three seconds", async () => {
    await tokens.verify(await google.sign({ sub: "alice" }));
    google.manner = "stalls";
    const startedAt = performance.now();
    await expect(tokens.verify(await google.sign({ sub: "dave" }))).rejects.toMatchObject({ code: "unavailable" });
    expect(performance.now() - startedAt).toBeLessThan(5000);
    passTime(61 * SECOND_MS);
    await expect(tokens.verify(await google.sign())).resolves.toBeTruthy();
  });

  it("is not looked at without credentials", async () => {
    google.users.set("alice", { disabled: true });
    await expect(open().verify(await google.sign())).resolves.toBeTruthy();
    expect(google.asked.users).toEqual([]);
  });
});

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}

function forge(header: object, signature: string, payload: unknown = idClaims()): string {
  return [encode(header), encode(payload), signature].join(".");
}

function tamper(token: string): string {
  const [header, payload, signature] = token.split(".");
  const changed = { ...JSON.parse(Buffer.from(payload ?? "", "base64url").toString()), role: "admin" };
  return [header, encode(changed), signature].join(".");
}
