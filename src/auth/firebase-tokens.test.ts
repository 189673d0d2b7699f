import { createPublicKey, type JsonWebKey } from "node:crypto";
import { SignJWT, UnsecuredJWT } from "jose";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeGoogle, idClaims, PROJECT_ID } from "../../test/helpers/fake-google.ts";
import { encode, FirebaseFixture, forge, now, tamper } from "../../test/helpers/firebase-tokens.ts";
import type { FirebaseTokens } from "./firebase-tokens.ts";

let fixture: FirebaseFixture;
let google: FakeGoogle;
/** Signs with its own keys under the same key ids. */
let stranger: FakeGoogle;
let tokens: FirebaseTokens;

beforeAll(async () => {
  [fixture, stranger] = await Promise.all([FirebaseFixture.start(), FakeGoogle.start()]);
  ({ google } = fixture);
});

beforeEach(() => {
  tokens = fixture.open();
});

afterEach(() => fixture.reset());

afterAll(async () => {
  await Promise.all([google.stop(), stranger.stop()]);
});

describe("ID tokens of Firebase", () => {
  it("tells who is calling and until when", async () => {
    const exp = now() + 1234;
    expect(await tokens.verify(await google.sign({ exp }))).toEqual({
      userId: "alice",
      role: "learner",
      expiresAt: new Date(exp * 1000),
    });
  });

  it("asks whether the user was deleted after the sign-in: a page that stays open renews its token by itself", async () => {
    const admit = vi.fn(async () => undefined);
    const asking = fixture.open({ admit });
    const signedInAt = now() - 600;
    await asking.verify(await google.sign({ auth_time: signedInAt, iat: now() - 1 }));
    expect(admit.mock.calls).toEqual([["alice", signedInAt * 1000]]);
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
  ])("reads the custom claim role %j as %s", async (claim, role) => {
    expect((await tokens.verify(await google.sign({ role: claim }))).role).toBe(role);
  });

  const refused: [string, () => Promise<string> | string, RegExp][] = [
    ["that has expired", () => google.sign({ exp: now() - 90 }), /expired/],
    ["with another project's audience", () => google.sign({ aud: "another-project" }), /`aud`/],
    ["with several audiences", () => google.sign({ aud: [PROJECT_ID] }), /`aud`/],
    ["of another issuer", () => google.sign({ iss: "https://securetoken.google.com/another-project" }), /`iss`/],
    [
      "of the issuer of session cookies",
      () => google.sign({ iss: `https://session.firebase.google.com/${PROJECT_ID}` }),
      /`iss`/,
    ],
    ["without an issuer", () => google.sign({ iss: undefined }), /`iss`/],
    ["signed with a key that is not published", () => google.sign({}, { kid: unpublish() }), /Google's keys/],
    ["signed with a stranger's key under a published id", () => stranger.sign(), /Google's keys/],
    ["without a signature (alg none)", () => new UnsecuredJWT(idClaims()).encode(), /`alg`/],
    [
      "without a signature under a header that claims one",
      () => forge({ alg: "RS256", kid: "key-1" }, ""),
      /Google's keys/,
    ],
    ["with an HMAC made of the published JWK", () => hmac(JSON.stringify(google.published["key-1"])), /`alg`/],
    ["with an HMAC made of the public key", () => hmac(publicPem()), /`alg`/],
    ["without a key id", () => withHeader({ alg: "RS256" }), /`kid`/],
    ["with an empty key id", () => withHeader({ alg: "RS256", kid: "" }), /`kid`/],
    [
      "whose key id is a name of Object.prototype",
      () => withHeader({ alg: "RS256", kid: "constructor" }),
      /Google's keys/,
    ],
    ["whose claims were changed after signing", async () => tamper(await google.sign()), /Google's keys/],
    ["without a subject", () => google.sign({ sub: undefined }), /`sub`/],
    ["with an empty subject", () => google.sign({ sub: "" }), /`sub`/],
    ["with a subject of 129 characters", () => google.sign({ sub: "x".repeat(129) }), /`sub`/],
    ["with a subject that contains U+0000", () => google.sign({ sub: "a\u0000b" }), /`sub`/],
    ["with a subject that is a number", () => google.sign({ sub: 7 as unknown as string }), /`sub`|malformed/],
    [
      "of the kind that Firebase sends without a subject",
      () => google.sign({ sub: undefined, event_type: "beforeSendSms" }),
      /`sub`/,
    ],
    ["without exp", () => google.sign({ exp: undefined }), /`exp`/],
    ["issued two minutes from now", () => google.sign({ iat: now() + 120 }), /`iat`.*future/],
    ["of a sign-in two minutes from now", () => google.sign({ auth_time: now() + 120 }), /`auth_time`.*future/],
    ["without the time of the sign-in", () => google.sign({ auth_time: undefined }), /`auth_time`/],
    ["of a user of a tenant", () => google.sign({ firebase: { tenant: "t1" } }), /`firebase.tenant`/],
    ["that is an empty string", () => "", /malformed/],
    ["that is a long string", () => "x".repeat(5000), /malformed/],
    ["that is three empty parts", () => "..", /malformed/],
    ["whose payload is null", () => google.signPayload("null"), /malformed/],
  ];

  it.each(refused)("refuses a token %s", async (_, make, message) => {
    const token = await make();
    await expect(tokens.verify(token)).rejects.toMatchObject({
      name: "AppError",
      code: "unauthenticated",
      message: expect.stringMatching(message),
    });
  });

  it("accepts clocks that differ by half a minute", async () => {
    const ahead = await google.sign({ iat: now() + 30, auth_time: now() + 30 });
    await expect(tokens.verify(ahead)).resolves.toMatchObject({ userId: "alice" });
    const exp = now() - 30;
    expect((await tokens.verify(await google.sign({ exp }))).expiresAt).toEqual(new Date((exp + 60) * 1000));
  });

  it("refuses a forged token that ended just now", async () => {
    for (const token of [await stranger.sign({ exp: now() - 5 }), tamper(await google.sign({ exp: now() - 5 }))]) {
      await expect(tokens.verify(token)).rejects.toMatchObject({ code: "unauthenticated" });
    }
  });

  it("accepts no unsigned token while the environment names an emulator for firebase-admin", async () => {
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
    expect(error?.message).toMatch(/Google's keys/);
    expect(error?.message).not.toContain("secret-subject");
    expect(error?.message).not.toContain(token.slice(0, 20));
  });

  function unpublish(): string {
    google.addKey("key-2");
    delete google.published["key-2"];
    return "key-2";
  }
  function publicPem(): string {
    const key = createPublicKey({ key: google.published["key-1"] as JsonWebKey, format: "jwk" });
    return key.export({ type: "spki", format: "pem" }) as string;
  }
  function hmac(secret: string): Promise<string> {
    return new SignJWT(idClaims())
      .setProtectedHeader({ alg: "HS256", kid: "key-1" })
      .sign(new TextEncoder().encode(secret));
  }
  /** A right signature under another header. */
  async function withHeader(header: object): Promise<string> {
    const [, payload, signature] = (await google.sign()).split(".");
    return [encode(header), payload, signature].join(".");
  }
});
