import { once } from "node:events";
import { SignJWT } from "jose";
import { io } from "socket.io-client";
import { describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type BadInputServer, GOOD, newUser, useBadInputServer } from "../helpers/bad-input-server.ts";
import { readMetric } from "../helpers/server-calls.ts";
import type { RawClient } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Who has no identity has a budget, and connections are counted whatever happens to the namespaces on them.
 */

const MAX_CONNECTS = 10;
const MAX_CONNECTIONS = 50;

describe("a connection without a user", () => {
  let server: BadInputServer;
  useBadInputServer((started) => {
    server = started;
  });

  /** CONNECT packets in one write. */
  function flood(client: RawClient, packet: string, count: number): void {
    client.ws.send(packet);
    for (let i = 1; i < count; i++) client.send(packet);
  }

  /** Opens a connection that says nothing. Resolves when the server has closed it. */
  async function openSilent(): Promise<void> {
    await once(new WebSocket(`${server.url.replace(/^http/, "ws")}/socket.io/?EIO=4&transport=websocket`), "close");
  }

  it("is closed when it has asked for namespaces ten times, and each further packet is left unread", async () => {
    const other = await server.player(newUser());
    const client = await server.socket({});
    flood(client, "40/player,{}", 3000);
    await client.closed;
    expect(client.frames.filter((frame) => frame.startsWith("44")).length).toBeLessThanOrEqual(MAX_CONNECTS);
    expect(await other.call("heartbeat", GOOD)).toMatchObject({ ok: true });
    expect(await readMetric(server.url, "playhead_connections_refused_total", `reason="connects"`)).toBe(1);
  });

  it.each(["40/nonsense,{}", "40{}", '40/dashboard,{"token":5}', "40/rtmp,{}"])(
    "is closed after ten times %s too",
    async (packet) => {
      const client = await server.socket({});
      flood(client, packet, 200);
      await client.closed;
      expect(client.frames.filter((frame) => frame.startsWith("44")).length).toBeLessThanOrEqual(MAX_CONNECTS);
    },
  );

  it("may ask again after its token was refused", async () => {
    const client = await server.socket({});
    client.send('40/player,{"token":"nonsense"}');
    await client.hear((frame) => frame.startsWith("44/player,"));
    client.send(`40/player,${JSON.stringify({ token: await mintToken(newUser()) })}`);
    await client.hear((frame) => frame.startsWith("40/player,"));
  });

  it("ends when it says nothing, not even an answer to a ping", async () => {
    await openSilent();
  });

  it("ends when it was not let in and does not ask again", async () => {
    const ask = async (packet: string) => {
      const client = await server.socket({});
      client.send(packet);
      await client.closed;
    };
    await Promise.all(["40/nonsense,{}", "40{}", '40/player,{"token":"nonsense"}'].map(ask));
  });

  it("stays while its client waits for a token and answers pings", async () => {
    const token = await mintToken(newUser());
    let calls = 0;
    const socket = io(`${server.url}/player`, {
      transports: ["websocket"],
      forceNew: true,
      reconnection: false,
      auth: (send) => {
        calls++;
        // After two silent connections the time of such a connection is surely over.
        void openSilent()
          .then(openSilent)
          .then(() => send({ token }));
      },
    });
    await once(socket as never, "connect");
    expect(calls).toBe(1);
    socket.close();
  });

  it("ends when it has left its last namespace", async () => {
    const client = await server.raw("/player");
    client.send("41/player,");
    await client.closed;
  });

  it("goes on when it has left one namespace of two", async () => {
    const token = await mintToken(newUser());
    const [client, leaver] = await Promise.all([server.socket({}), server.raw("/player")]);
    for (const namespace of ["/player", "/dashboard"]) {
      client.send(`40${namespace},${JSON.stringify({ token })}`);
      await client.hear((frame) => frame.startsWith(`40${namespace},`));
    }
    client.send("41/dashboard,");
    leaver.send("41/player,");
    // The other one left later, so this one's time is over too.
    await leaver.closed;
    expect(await client.callRaw("/player", JSON.stringify(["heartbeat", GOOD]))).toMatchObject({ ok: true });
  });
});

describe("the connections of a user", () => {
  let server: BadInputServer;
  useBadInputServer((started) => {
    server = started;
  });

  async function join(client: RawClient, token: string): Promise<string> {
    client.send(`40/player,${JSON.stringify({ token })}`);
    return client.hear((frame) => frame.startsWith("40/player,") || frame.startsWith("44/player,"));
  }

  it("count until they close, also where they leave their namespace at once", async () => {
    const token = await mintToken(newUser());
    const answers: string[] = [];
    for (let i = 0; i < MAX_CONNECTIONS + 10; i++) {
      const client = await server.socket({});
      answers.push(await join(client, token));
      client.send("41/player,");
    }
    expect(answers.slice(0, MAX_CONNECTIONS).every((frame) => frame.startsWith("40"))).toBe(true);
    expect(answers.slice(MAX_CONNECTIONS).every((frame) => frame.includes("rate_limited"))).toBe(true);
    server.closeClients();
    await waitFor(async () => (await join(await server.socket({}), token)).startsWith("40"), {
      what: "the places to be free again",
    });
  });
});

describe("a network whose tokens are forged", () => {
  let server: BadInputServer;
  useBadInputServer((started) => {
    server = started;
  });

  it("gets few token checks at once after 200 refused handshakes, and a right token is still accepted", async () => {
    const token = await new SignJWT({ role: "admin" })
      .setProtectedHeader({ alg: "HS256" })
      .setSubject("mallory")
      .setIssuer("playhead")
      .setExpirationTime("1h")
      .sign(new TextEncoder().encode("another secret of forty characters, 1234"));
    const codes = new Map<string, number>();
    const refuseTen = async () => {
      const client = await server.socket({});
      for (let i = 0; i < MAX_CONNECTS; i++) client.send(`40/player,${JSON.stringify({ token })}`);
      await waitFor(() => client.frames.filter((frame) => frame.startsWith("44")).length === MAX_CONNECTS, {
        what: "every handshake to be refused",
      });
      for (const frame of client.frames) {
        const code = /"code":"(\w+)"/.exec(frame)?.[1];
        if (code !== undefined) codes.set(code, (codes.get(code) ?? 0) + 1);
      }
    };
    // The refusals of one wave are counted before the next one comes.
    for (let wave = 0; wave < 3; wave++) await Promise.all(Array.from({ length: 25 }, refuseTen));
    expect([...codes.keys()].sort()).toEqual(["rate_limited", "unauthenticated"]);
    expect(codes.get("rate_limited")).toBeGreaterThan(0);
    const client = await server.socket({});
    client.send(`40/player,${JSON.stringify({ token: await mintToken(newUser()) })}`);
    expect(await client.hear((frame) => frame.startsWith("4"))).toMatch(/^40\/player,/);
  });
});
