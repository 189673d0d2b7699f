import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { FakeGoogle } from "../../test/helpers/fake-google.ts";
import { FirebaseFixture, now, passTime, setWallClock, tamper } from "../../test/helpers/firebase-tokens.ts";
import { findFreePort } from "../../test/helpers/free-port.ts";
import type { FirebaseTokens } from "./firebase-tokens.ts";

const SECOND_MS = 1000;
const HOUR_MS = 3600 * 1000;

let fixture: FirebaseFixture;
let google: FakeGoogle;
let tokens: FirebaseTokens;

beforeAll(async () => {
  fixture = await FirebaseFixture.start();
  ({ google } = fixture);
});
beforeEach(() => {
  tokens = fixture.open();
});
afterEach(() => fixture.reset());
afterAll(() => google.stop());

describe("Google's public keys", () => {
  it("are downloaded once for all tokens that wait, and again when they are due", async () => {
    const token = await google.sign();
    await Promise.all(Array.from({ length: 50 }, () => tokens.verify(token)));
    expect(google.asked.keys).toBe(1);
    passTime(google.maxAgeSeconds * SECOND_MS - 20 * SECOND_MS);
    await tokens.verify(await google.sign());
    expect(google.asked.keys).toBe(1);
    passTime(20 * SECOND_MS);
    await tokens.verify(await google.sign());
    expect(google.asked.keys).toBe(2);
  });

  it("lose their old keys when they are due", async () => {
    await tokens.verify(await google.sign());
    google.addKey("key-2");
    delete google.published["key-1"];
    passTime(google.maxAgeSeconds * SECOND_MS);
    await expect(tokens.verify(await google.sign({}, { kid: "key-2" }))).resolves.toBeTruthy();
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it("are downloaded for a key id that nobody knows, once in half a minute", async () => {
    await tokens.verify(await google.sign());
    google.addKey("key-2");
    const early = await google.sign({}, { kid: "key-2" });
    await expect(tokens.verify(early)).rejects.toMatchObject({ code: "unauthenticated" });
    expect(google.asked.keys).toBe(1);
    passTime(30 * SECOND_MS);
    await Promise.all(Array.from({ length: 20 }, () => tokens.verify(early)));
    expect(google.asked.keys).toBe(2);
  });

  it("are downloaded when they are due, and for an unknown key id, though somebody sets the clock back by an hour", async () => {
    const old = { iat: now() - 3600, auth_time: now() - 3600 };
    await tokens.verify(await google.sign(old));
    setWallClock(-HOUR_MS);
    google.addKey("key-2");
    passTime(30 * SECOND_MS);
    await expect(tokens.verify(await google.sign(old, { kid: "key-2" }))).resolves.toBeTruthy();
    expect(google.asked.keys).toBe(2);
    passTime(google.maxAgeSeconds * SECOND_MS);
    setWallClock(-google.maxAgeSeconds * SECOND_MS);
    await expect(tokens.verify(await google.sign(old))).resolves.toBeTruthy();
    expect(google.asked.keys).toBe(3);
  });

  it("make a token with an unknown key id unavailable, not bad, while Google is away", async () => {
    await tokens.verify(await google.sign());
    google.addKey("key-2");
    google.manner = "fails";
    passTime(30 * SECOND_MS);
    const unknown = await google.sign({}, { kid: "key-2" });
    await expect(tokens.verify(unknown)).rejects.toMatchObject({ code: "unavailable" });
    await expect(tokens.verify(unknown)).rejects.toMatchObject({ code: "unavailable" });
    await expect(tokens.verify(await google.sign())).resolves.toBeTruthy();
    expect(google.asked.keys).toBe(2);
  });

  it.each(["fails", "rambles"] as const)("make tokens unavailable, not bad, while Google %s", async (manner) => {
    const token = await google.sign();
    await tokens.verify(token);
    google.manner = manner;
    const late = fixture.open();
    const failure = await late.verify(token).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: "unavailable", retryAfterMs: expect.any(Number) });
    const { retryAfterMs } = failure as { retryAfterMs: number };
    expect(retryAfterMs).toBeLessThanOrEqual(10_000);
    // Until then Google is not asked again.
    const asked = google.asked.keys;
    await expect(late.verify(token)).rejects.toMatchObject({ code: "unavailable" });
    expect(google.asked.keys).toBe(asked);
    expect(await fixture.countRequests("certificates", "failed")).toBe(1);

    google.manner = "answers";
    passTime(retryAfterMs);
    await expect(late.verify(token)).resolves.toMatchObject({ userId: "alice" });
  });

  it("are given up after half an answer", async () => {
    google.manner = "stalls";
    await expect(fixture.open().verify(await google.sign())).rejects.toMatchObject({ code: "unavailable" });
  });

  it("are given up if nobody listens", async () => {
    const late = fixture.open({ keysUrl: new URL(`http://127.0.0.1:${await findFreePort()}/keys`) });
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
