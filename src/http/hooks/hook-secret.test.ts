import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createHookSecrets } from "./hook-secret.ts";

describe("hook secrets", () => {
  it("are good for all dialects, or for the one they name", () => {
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

  it.each(["", "share", "shared ", "sharedx", "SHARED", "\u0000"])("are not %j", (given) => {
    expect(createHookSecrets(["shared"], "srs").matches(given)).toBe(false);
  });

  it("are not there where nothing is behind the name", () => {
    const empty = createHookSecrets(["srs:", "nginx-rtmp:x"], "srs");
    expect(empty.configured).toBe(false);
    expect(empty.matches("")).toBe(false);
    expect(createHookSecrets([], "srs").configured).toBe(false);
  });

  it("sign a body, whichever of them it was, padded or not", () => {
    const secrets = createHookSecrets(["one", "ovenmediaengine:two", "srs:three"], "ovenmediaengine");
    const body = new TextEncoder().encode('{"a":1}');
    const sign = (secret: string) => createHmac("sha1", secret).update(body).digest("base64url");
    expect(secrets.signed(sign("one"), body)).toBe(true);
    expect(secrets.signed(`${sign("two")}=`, body)).toBe(true);
    expect(secrets.signed(sign("three"), body)).toBe(false);
    expect(secrets.signed(sign("one"), new TextEncoder().encode('{"a":2}'))).toBe(false);
    expect(secrets.signed("", body)).toBe(false);
  });

  it("sign as OvenMediaEngine does: the bytes of RFC 2202, in the alphabet of URLs", () => {
    const secrets = createHookSecrets(["Jefe"], "ovenmediaengine");
    const expected = Buffer.from("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79", "hex").toString("base64url");
    expect(secrets.signed(expected, new TextEncoder().encode("what do ya want for nothing?"))).toBe(true);
  });
});
