import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "socket.io";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { systemClock } from "./clock.ts";
import { type Connection, createConnection, toServerUrl } from "./connection.ts";

describe("the option url", () => {
  it.each([
    ["https://host", "https://host"],
    ["https://host/", "https://host"],
    ["https://host:8443/progress", "https://host:8443/progress"],
    ["https://HOST/a/b//", "https://host/a/b"],
  ])("%s is a server", (url, server) => {
    expect(toServerUrl(url)).toBe(server);
  });

  it.each(["host", "/progress", "ftp://host", "wss://host", "https://host/?a=b", "https://host/#a", undefined])(
    "%s is a TypeError outside a page",
    (url) => {
      expect(() => toServerUrl(url)).toThrow(TypeError);
    },
  );
});

describe("a connection to a server behind a path", () => {
  let http: HttpServer;
  let io: Server;
  let connection: Connection | null;

  beforeEach(async () => {
    http = createServer();
    io = new Server(http, { path: "/progress/socket.io/", transports: ["websocket"] });
    io.of("/player").on("connection", () => undefined);
    connection = null;
    await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  });

  afterEach(async () => {
    connection?.close();
    await io.close();
  });

  it("reaches Socket.IO below that path", async () => {
    const url = toServerUrl(`http://127.0.0.1:${(http.address() as AddressInfo).port}/progress`);
    connection = createConnection({ clock: systemClock }, { url, namespace: "/player", token: "t" });
    await vi.waitFor(() => expect(connection?.state).toBe("online"));
  });
});
