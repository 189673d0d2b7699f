import { generateKeyPair, SignJWT, UnsecuredJWT } from "jose";
import { afterEach, describe, expect, it, vi } from "vitest";
import { AppError } from "../errors.ts";
import { createBuiltinTokens } from "./builtin-tokens.ts";

const SECRET = "a secret of at least thirty-two characters";
const key = new TextEncoder().encode(SECRET);
const tokens = createBuiltinTokens({ secret: SECRET, ttlSeconds: 60 });

function signed(
  payload: Record<string, unknown>,
  { alg = "HS256", with: withKey = key }: { alg?: string; with?: Uint8Array } = {},
) {
  return new SignJWT(payload).setProtectedHeader({ alg }).sign(withKey);
}

const inAMinute = () => Math.floor(Date.now() / 1000) + 60;
const claims = () => ({ iss: "playhead", sub: "alice", role: "learner", exp: inAMinute() });

afterEach(() => {
  vi.useRealTimers();
});

describe("built-in tokens", () => {
  it("verifies a minted token, and tells who is calling and until when", async () => {
    const { token, expiresAt } = await tokens.mint({ userId: "alice", role: "instructor" });
    expect(await tokens.verify(token)).toEqual({ userId: "alice", role: "instructor", expiresAt });
  });

  it.each([".", "..", "a/user:b", ""])("mints no token that it would not take, for the user %j", async (userId) => {
    const minting = tokens.mint({ userId, role: "learner" });
    await expect(minting).rejects.toMatchObject({ code: "forbidden" });
  });

  it("asks whether the user was deleted after the token was issued; a token that does not say counts as old", async () => {
    const admit = vi.fn(async () => undefined);
    const asking = createBuiltinTokens({ secret: SECRET, ttlSeconds: 60, admit });
    const issuedAt = inAMinute() - 90;
    await asking.verify(await signed({ ...claims(), iat: issuedAt }));
    await asking.verify(await signed(claims()));
    await asking.verify(await signed({ ...claims(), iat: -1 }));
    expect(admit.mock.calls).toEqual([
      ["alice", issuedAt * 1000],
      ["alice", 0],
      ["alice", 0],
    ]);
    admit.mockRejectedValue(new AppError("unauthenticated", "deleted"));
    await expect(asking.verify(await signed(claims()))).rejects.toThrow("deleted");
  });

  it("mints a token with the lifetime that the caller chooses", async () => {
    const before = Math.floor(Date.now() / 1000);
    const { expiresAt } = await tokens.mint({ userId: "alice", role: "learner" }, 5);
    expect(expiresAt.getTime() / 1000 - before).toBeGreaterThanOrEqual(5);
    expect(expiresAt.getTime() / 1000 - before).toBeLessThanOrEqual(6);
  });

  it("keeps a subject in any script, up to 128 characters", async () => {
    const userId = "ü😀".repeat(64);
    const { token } = await tokens.mint({ userId, role: "learner" });
    expect((await tokens.verify(token)).userId).toBe(userId);
  });

  it("ends a token at its exp, without any tolerance", async () => {
    vi.useFakeTimers({ now: 1_000_000_000_000, toFake: ["Date"] });
    const { token, expiresAt } = await tokens.mint({ userId: "alice", role: "learner" }, 30);
    vi.setSystemTime(expiresAt.getTime() - 1000);
    await expect(tokens.verify(token)).resolves.toMatchObject({ userId: "alice" });
    vi.setSystemTime(expiresAt.getTime());
    await expect(tokens.verify(token)).rejects.toMatchObject({
      code: "unauthenticated",
      message: expect.stringContaining("expired"),
    });
  });

  const refused: [string, () => Promise<string> | string, RegExp][] = [
    ["without a signature (alg none)", () => new UnsecuredJWT(claims()).encode(), /./],
    [
      "with another HMAC algorithm under the right key",
      () => signed(claims(), { alg: "HS512" }),
      /not signed with HS256/,
    ],
    [
      "with an asymmetric algorithm",
      async () =>
        new SignJWT(claims()).setProtectedHeader({ alg: "ES256" }).sign((await generateKeyPair("ES256")).privateKey),
      /not signed with HS256/,
    ],
    [
      "with a forged signature",
      () => signed(claims(), { with: new TextEncoder().encode("x".repeat(40)) }),
      /signature/,
    ],
    ["whose claims were changed after signing", async () => tamper(await signed(claims())), /signature/],
    ["without a subject", () => signed({ ...claims(), sub: undefined }), /`sub`/],
    ["with an empty subject", () => signed({ ...claims(), sub: "" }), /subject/],
    ["with a subject of 129 characters", () => signed({ ...claims(), sub: "x".repeat(129) }), /subject/],
    ["with a subject that contains U+0000", () => signed({ ...claims(), sub: "a\u0000b" }), /subject/],
    ["with a subject that is a number", () => signed({ ...claims(), sub: 7 }), /subject|malformed/],
    ["with the subject `..`, which no URL can name", () => signed({ ...claims(), sub: ".." }), /subject/],
    ["with a subject that a topic cannot name", () => signed({ ...claims(), sub: "a/user:b" }), /subject.*\/user:/],
    ["without exp", () => signed({ ...claims(), exp: undefined }), /`exp`/],
    ["whose exp is in milliseconds", () => signed({ ...claims(), exp: 9_999_999_999_999 }), /`exp`/],
    ["whose exp no number holds exactly", () => signed({ ...claims(), exp: 1e300 }), /`exp`/],
    ["of another issuer", () => signed({ ...claims(), iss: "somebody" }), /`iss`/],
    ["without a role", () => signed({ ...claims(), role: undefined }), /role/],
    ["with an unknown role", () => signed({ ...claims(), role: "root" }), /role/],
    ["whose role is a name of Object.prototype", () => signed({ ...claims(), role: "constructor" }), /role/],
    ["that is an empty string", () => "", /malformed/],
    ["that is a long string", () => "x".repeat(5000), /malformed/],
    ["that is three empty parts", () => "..", /malformed/],
  ];

  it.each(refused)("refuses a token %s", async (_, make, message) => {
    const token = await make();
    await expect(tokens.verify(token)).rejects.toMatchObject({
      name: "AppError",
      code: "unauthenticated",
      message: expect.stringMatching(message),
    });
  });

  it("never repeats the token in the error", async () => {
    const token = await signed(
      { ...claims(), sub: "secret-subject" },
      { with: new TextEncoder().encode("x".repeat(40)) },
    );
    const error = await tokens.verify(token).then(
      () => null,
      (thrown: Error) => thrown,
    );
    expect(error?.message).not.toContain("secret-subject");
    expect(error?.message).not.toContain(token.slice(0, 20));
  });
});

function tamper(token: string): string {
  const [header, payload, signature] = token.split(".");
  const changed = { ...JSON.parse(Buffer.from(payload ?? "", "base64url").toString()), role: "admin" };
  return [header, Buffer.from(JSON.stringify(changed)).toString("base64url"), signature].join(".");
}
