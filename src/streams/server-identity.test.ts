import { describe, expect, it } from "vitest";
import { isOfServer, toServerIdentity, toServerName } from "./server-identity.ts";

describe("a media server's identity", () => {
  it("tells media servers of different kinds apart that have the same name", () => {
    const nginx = toServerIdentity("nginx-rtmp", "edge");
    expect(isOfServer(nginx, nginx)).toBe(true);
    for (const kind of ["rtmp", "srs", "mediamtx", "ovenmediaengine"] as const)
      expect(isOfServer(nginx, toServerIdentity(kind, "edge"))).toBe(false);
  });

  it("keeps the name as the media server gave it", () => {
    for (const name of ["edge", "edge:1", "srs:edge", ""])
      expect(toServerName(toServerIdentity("srs", name))).toBe(name);
    expect(toServerName("edge:1")).toBe("edge:1");
  });

  it("is that of a session that an older version wrote with the name alone", () => {
    expect(isOfServer("edge", toServerIdentity("srs", "edge"))).toBe(true);
    expect(isOfServer("other", toServerIdentity("srs", "edge"))).toBe(false);
  });

  it("cannot be taken by a name that looks like another media server's identity", () => {
    const srs = toServerIdentity("srs", "edge");
    expect(isOfServer(srs, toServerIdentity("nginx-rtmp", srs))).toBe(false);
    expect(isOfServer(srs, toServerIdentity("nginx-rtmp", `srs:${srs}`))).toBe(false);
  });
});
