import { connect } from "node:net";
import { describe, expect, it } from "vitest";
import { type BadInputServer, GOOD, newUser, useBadInputServer } from "../helpers/bad-input-server.ts";

/*
 * Requests that come without waiting for answers. uWebSockets.js hands over all of them in one turn of the event loop: were
 * they answered in it, nobody else would be.
 */

const REQUESTS = 20_000;

describe("a connection with thousands of requests in one write", () => {
  let server: BadInputServer;
  useBadInputServer((started) => {
    server = started;
  });

  const upgrade =
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x3JJHMbDL1EzLkh9GBhXDw==\r\n";

  it.each([
    ["to an unknown address", "GET /nothing", ""],
    ["without a token", "GET /v1/courses", ""],
    ["with a method that is refused", "TRACE /", ""],
    ["to Socket.IO", "GET /socket.io/?EIO=4", ""],
    [
      "from an origin that is refused",
      "GET /socket.io/?EIO=4&transport=websocket",
      `${upgrade}Origin: http://x.test\r\n`,
    ],
  ])("%s is ended after one of them, and heartbeats are acked", async (_, start, headers) => {
    const player = await server.player(newUser());
    const { hostname, port } = new URL(server.url);
    let answers = 0;
    const attackers = Array.from({ length: 4 }, () => {
      const socket = connect(Number(port), hostname);
      socket.on("error", () => undefined); // `close` follows
      socket.on("data", (data) => {
        answers += data.toString("latin1").split("HTTP/1.1 ").length - 1;
      });
      const closed = new Promise((resolve) => socket.once("close", resolve));
      socket.write(`${start} HTTP/1.1\r\nHost: x\r\n${headers}\r\n`.repeat(REQUESTS));
      return closed;
    });
    expect(await player.call("heartbeat", GOOD)).toMatchObject({ ok: true });
    await Promise.all(attackers);
    expect(answers).toBeLessThanOrEqual(4);
    expect(await player.call("heartbeat", { ...GOOD, position: 20 })).toMatchObject({ ok: true });
  });
});
