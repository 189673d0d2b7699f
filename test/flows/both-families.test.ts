import { request } from "node:http";
import { networkInterfaces } from "node:os";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";

/*
 * A server that listens on `::` sees IPv4 clients as IPv6 ones. Each is counted under its own network all the same.
 */

const BURST = 120;
/** Handshakes at `/rtmp` with a wrong secret that one network may have in a minute. */
const WRONG_SECRETS = 20;
const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));

interface Caller {
  /** The address that the client connects to. */
  to: string;
  /** The client's own address. */
  from: string;
}

const LOUD: Caller = { to: "127.0.0.1", from: "127.0.0.1" };
const OTHER_IPV4: Caller = { to: "127.0.0.1", from: "127.0.0.2" };
const IPV6: Caller = { to: "::1", from: "::1" };

describe.skipIf(!hasIpv6)("a server on ::", () => {
  let database: TestDatabase;
  let server: ServerProcess;
  let port: string;

  beforeAll(async () => {
    database = await createTestDatabase();
    // So many calls in two minutes: a slow machine changes nothing.
    const limits = { RATE_LIMIT_BURST: String(BURST), RATE_LIMIT_PER_SECOND: "1" };
    server = await startServerProcess({ env: serverEnv(database, { HOST: "::", RTMP_SECRETS: "right", ...limits }) });
    port = new URL(server.url).port;
  });
  afterAll(async () => {
    await server.stop();
    await database.drop();
  });

  /** Calls a route without a token. @returns the status */
  function call({ to, from }: Caller): Promise<number | undefined> {
    return new Promise((resolve, reject) => {
      const sent = request({ host: to, port, path: "/v1/streams", localAddress: from, agent: false }, (response) => {
        response.resume();
        resolve(response.statusCode);
      });
      sent.on("error", reject);
      sent.end();
    });
  }

  /** Connects to `/rtmp` with a wrong secret. @returns the code of the refusal */
  function knock({ to, from }: Caller): Promise<string | undefined> {
    return new Promise((resolve, reject) => {
      const host = to.includes(":") ? `[${to}]` : to;
      const url = `ws://${host}:${port}/socket.io/?EIO=4&transport=websocket`;
      const ws = new WebSocket(url, { localAddress: from, perMessageDeflate: false });
      ws.on("error", reject);
      ws.on("open", () => ws.send('40/rtmp,{"secret":"wrong"}'));
      ws.on("message", (data) => {
        const frame = data.toString();
        if (!frame.startsWith("44")) return;
        resolve(/"code":"(\w+)"/.exec(frame)?.[1]);
        ws.terminate();
      });
    });
  }

  it("counts the calls of two IPv4 addresses and of an IPv6 address apart", async () => {
    const answers = await Promise.all(Array.from({ length: BURST + 5 }, () => call(LOUD)));
    expect(answers.filter((status) => status === 429)).toHaveLength(5);
    expect(await call(LOUD)).toBe(429);
    expect(await call(OTHER_IPV4)).toBe(401);
    expect(await call(IPV6)).toBe(401);
  });

  it("counts their sockets apart", async () => {
    for (let i = 0; i < WRONG_SECRETS; i++) expect(await knock(LOUD)).toBe("unauthenticated");
    expect(await knock(LOUD)).toBe("rate_limited");
    expect(await knock(OTHER_IPV4)).toBe("unauthenticated");
    expect(await knock(IPV6)).toBe("unauthenticated");
  });
});
