import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createHookSecrets } from "./hook-secret.ts";

describe("the secrets of hooks", () => {
  it("match in all dialects, or only in the dialect that an entry names", () => {
    const entries = ["shared", "srs:only-srs", "other:colon"];
    const srs = createHookSecrets(entries, "srs");
    const nginx = createHookSecrets(entries, "nginx-rtmp");
    for (const secret of ["shared", "other:colon"]) {
      expect(srs.matches(secret)).toBe(true);
      expect(nginx.matches(secret)).toBe(true);
    }
    expect(srs.matches("only-srs")).toBe(true);
    expect(nginx.matches("only-srs")).toBe(false);
    expect(srs.matches("srs:only-srs")).toBe(false);
    expect(nginx.matches("srs:only-srs")).toBe(false);
  });

  it.each(["", "share", "shared ", "sharedx", "SHARED", "\u0000"])("do not match %j", (given) => {
    expect(createHookSecrets(["shared"], "srs").matches(given)).toBe(false);
  });

  it("are not configured if nothing follows the dialect's name", () => {
    const empty = createHookSecrets(["srs:", "nginx-rtmp:x"], "srs");
    expect(empty.configured).toBe(false);
    expect(empty.matches("")).toBe(false);
    expect(createHookSecrets([], "srs").configured).toBe(false);
  });

  it("accept a signature with any of them, padded or not", () => {
    const secrets = createHookSecrets(["one", "ovenmediaengine:two", "srs:three"], "ovenmediaengine");
    const body = new TextEncoder().encode('{"a":1}');
    const sign = (secret: string) => createHmac("sha1", secret).update(body).digest("base64url");
    expect(secrets.signed(sign("one"), body)).toBe(true);
    expect(secrets.signed(`${sign("two")}=`, body)).toBe(true);
    expect(secrets.signed(sign("three"), body)).toBe(false);
    expect(secrets.signed(sign("one"), new TextEncoder().encode('{"a":2}'))).toBe(false);
    expect(secrets.signed("", body)).toBe(false);
  });

  it("accept the signature of RFC 2202, written in base64url as OvenMediaEngine does", () => {
    const secrets = createHookSecrets(["Jefe"], "ovenmediaengine");
    const expected = Buffer.from("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", "hex").toString("base64url");
    expect(secrets.signed(expected, new TextEncoder().encode("what do ya want for nothing?"))).toBe(true);
  });
});
