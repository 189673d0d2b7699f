import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type { FakeGoogle } from "../../test/helpers/fake-google.ts";
import { FirebaseFixture, now, passTime, setWallClock, tamper } from "../../test/helpers/firebase-tokens.ts";
import type { FirebaseTokens } from "./firebase-tokens.ts";

const SECOND_MS = 1000;

let fixture: FirebaseFixture;
let google: FakeGoogle;
let tokens: FirebaseTokens;

beforeAll(async () => {
  fixture = await FirebaseFixture.start();
  ({ google } = fixture);
});
beforeEach(() => {
  tokens = fixture.open({ checkRevoked: true });
  google.users.set("alice", { validSince: now() - 3600 });
});
afterEach(() => fixture.reset());
afterAll(() => google.stop());

describe("the revocation of Firebase tokens", () => {
  it("accepts a user whose tokens count", async () => {
    await expect(tokens.verify(await google.sign())).resolves.toMatchObject({ userId: "alice" });
  });

  it.each([
    ["a revoked token", { validSince: now() - 10 }, /revoked/],
    ["a disabled user", { disabled: true }, /disabled/],
    ["a deleted user", null, /no longer exists/],
  ])("refuses %s", async (_, user, message) => {
    if (user === null) google.users.delete("alice");
    else google.users.set("alice", user);
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({
      code: "unauthenticated",
      message: expect.stringMatching(message),
    });
  });

  it("accepts the token of a sign-in after the revocation", async () => {
    google.users.set("alice", { validSince: now() - 10 });
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({ code: "unauthenticated" });
    await expect(tokens.verify(await google.sign({ auth_time: now() - 10 }))).resolves.toBeTruthy();
  });

  it("asks Firebase once a minute per user", async () => {
    await Promise.all(Array.from({ length: 20 }, async () => tokens.verify(await google.sign())));
    expect(google.asked.users).toEqual([["alice"]]);
    google.users.set("alice", { disabled: true });
    passTime(59 * SECOND_MS);
    await expect(tokens.verify(await google.sign())).resolves.toBeTruthy();
    passTime(2 * SECOND_MS);
    await expect(tokens.verify(await google.sign())).rejects.toMatchObject({ code: "unauthenticated" });
    expect(google.asked.users).toHaveLength(2);
  });

  it("asks Firebase again after a minute, though somebody sets the clock back by an hour", async () => {
    const token = await google.sign({ iat: now() - 3600, auth_time: now() - 3600 });
    google.users.set("alice", { validSince: now() - 7200 });
    await tokens.verify(token);
    google.users.set("alice", { disabled: true });
    passTime(61 * SECOND_MS);
    setWallClock(-3600 * SECOND_MS);
    await expect(tokens.verify(token)).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it("asks for up to a hundred users in one request", async () => {
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

  it("does not ask for a token that is bad anyway", async () => {
    await expect(tokens.verify(tamper(await google.sign()))).rejects.toMatchObject({ code: "unauthenticated" });
    expect(google.asked.users).toEqual([]);
  });

  it("relies on the last answer for an hour while Firebase is away, and refuses users without an answer", async () => {
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

  it("asks again when Firebase is back", async () => {
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

  // firebase-admin by itself would wait for 25 s.
  it("gives up a request that is not answered in time", { timeout: 20_000 }, async () => {
    await tokens.verify(await google.sign({ sub: "alice" }));
    google.manner = "stalls";
    await expect(tokens.verify(await google.sign({ sub: "dave" }))).rejects.toMatchObject({ code: "unavailable" });
    passTime(61 * SECOND_MS);
    await expect(tokens.verify(await google.sign())).resolves.toBeTruthy();
  });

  it("is not checked without credentials", async () => {
    google.users.set("alice", { disabled: true });
    await expect(fixture.open().verify(await google.sign())).resolves.toBeTruthy();
    expect(google.asked.users).toEqual([]);
  });
});
