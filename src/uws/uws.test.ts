import { describe, expect, it } from "vitest";
import { App, explainMissing, pickUws, us_listen_socket_close } from "./uws.ts";

describe("uWebSockets.js", () => {
  it.each([
    [20, "uws-node20"],
    [22, "uws-node20"],
    [23, "uws-node20"],
    [24, "uws-node24"],
    [26, "uws-node24"],
  ])("is taken, on Node %i, from the release %s", (major, name) => expect(pickUws(major)).toBe(name));

  it("listens with the release for this Node", async () => {
    const socket = await new Promise<Parameters<typeof us_listen_socket_close>[0] | false>((resolve) => {
      App().listen("127.0.0.1", 0, resolve);
    });
    expect(socket).toBeTruthy();
    us_listen_socket_close(socket as Parameters<typeof us_listen_socket_close>[0]);
  });

  it("explains that the system's glibc is too old", () => {
    const cause = new Error("/lib/x86_64-linux-gnu/libc.so.6: version `GLIBC_2.38' not found");
    expect(explainMissing(cause, { version: "24.1.0", platform: "linux", arch: "x64" })).toMatch(
      /Node 24\.1\.0, linux-x64[\s\S]*glibc 2\.38[\s\S]*Use Node 20 or 22/,
    );
  });

  it("names the binary that npm left out, and how to install it", () => {
    const cause = new Error("Cannot find module '@uwsjs/linux-x64-22'");
    expect(explainMissing(cause, { version: "22.1.0", platform: "linux", arch: "x64" })).toMatch(
      /@uwsjs\/linux-x64-22 is not installed[\s\S]*npm install/,
    );
  });

  it("names the versions of Node that it has binaries for", () => {
    const cause = new Error("Cannot find module");
    expect(explainMissing(cause, { version: "21.0.0", platform: "linux", arch: "x64" })).toContain("20, 22, 24 and 26");
  });
});
