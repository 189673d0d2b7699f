import { generateKeyPairSync } from "node:crypto";
import { SignJWT, UnsecuredJWT } from "jose";
import { describe, expect, it, vi } from "vitest";
import { AppError } from "../errors.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { createBuiltinTokens } from "./builtin-tokens.ts";
import type { Caller } from "./caller.ts";
import { createTokenVerifier } from "./token-kinds.ts";

const SECRET = "a secret of at least thirty-two characters";
const builtin = createBuiltinTokens({ secret: SECRET, ttlSeconds: 60 });
const CALLER: Caller = { userId: "from-firebase", role: "learner", expiresAt: new Date(0) };
const GOOGLE = "https://securetoken.google.com/my-app";

function create(firebase = vi.fn(async () => CALLER)) {
  const metrics = createMetrics();
  return { verify: createTokenVerifier({ builtin: builtin.verify, firebase, metrics }), firebase, metrics };
}

function signed(iss: string | undefined, secret = SECRET): Promise<string> {
  const token = new SignJWT({ sub: "mallory", role: "admin", exp: Math.floor(Date.now() / 1000) + 60 });
  if (iss !== undefined) token.setIssuer(iss);
  return token.setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(secret));
}

describe("the verifier of built-in and Firebase tokens", () => {
  it("hands a token to the verifier of its issuer", async () => {
    const { verify, firebase } = create();
    const { token } = await builtin.mint({ userId: "alice", role: "admin" });
    expect(await verify(token)).toMatchObject({ userId: "alice", role: "admin" });
    expect(firebase).not.toHaveBeenCalled();
    expect(await verify(await signed(GOOGLE))).toBe(CALLER);
    expect(firebase).toHaveBeenCalledTimes(1);
  });

  it("never takes a token without the built-in issuer for a built-in one, even if it is signed with the secret", async () => {
    const { verify, firebase } = create(vi.fn(async () => Promise.reject(new AppError("unauthenticated", "no"))));
    for (const token of [await signed(GOOGLE), await signed(undefined), await signed("somebody")]) {
      await expect(verify(token)).rejects.toMatchObject({ code: "unauthenticated" });
    }
    expect(firebase).toHaveBeenCalledTimes(3);
  });

  it("refuses a token that names the built-in issuer but is not signed with the secret", async () => {
    const { verify, firebase } = create();
    const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
    const claims = { iss: "playhead", sub: "mallory", role: "admin", exp: Math.floor(Date.now() / 1000) + 60 };
    for (const token of [
      await signed("playhead", "x".repeat(40)),
      new UnsecuredJWT(claims).encode(),
      await new SignJWT(claims).setProtectedHeader({ alg: "RS256", kid: "key-1" }).sign(privateKey),
      "",
      "..",
      "x".repeat(5000),
    ]) {
      await expect(verify(token)).rejects.toMatchObject({ code: "unauthenticated" });
    }
    expect(firebase).not.toHaveBeenCalled();
  });

  it("treats every token as built-in if no project is configured", async () => {
    const verify = createTokenVerifier({ builtin: builtin.verify, firebase: null, metrics: createMetrics() });
    await expect(verify(await signed(GOOGLE))).rejects.toMatchObject({ code: "unauthenticated" });
  });

  it("counts tokens by kind and outcome", async () => {
    const { verify, metrics } = create(vi.fn(async () => Promise.reject(new AppError("unavailable", "away"))));
    await verify((await builtin.mint({ userId: "alice", role: "admin" })).token);
    await verify(await signed("playhead", "x".repeat(40))).catch(() => undefined);
    await verify(await signed(GOOGLE)).catch(() => undefined);
    expect((await metrics.tokenChecks.get()).values.map(({ labels, value }) => ({ ...labels, value }))).toEqual([
      { kind: "builtin", outcome: "ok", value: 1 },
      { kind: "builtin", outcome: "unauthenticated", value: 1 },
      { kind: "firebase", outcome: "unavailable", value: 1 },
    ]);
  });
});
