import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { TemplatedApp, WebSocketBehavior } from "../uws/uws.ts";
import { CallTable, type GatewaySocket } from "./call.ts";
import { NamespaceFrames, readDirectFrames } from "./direct-frames.ts";

/** A connection. `receive` hands it a frame as uWebSockets.js does; the arrays tell what became of each frame. */
function connect(options: { upgrades?: boolean } = {}) {
  const sent: string[] = [];
  const passedOn: string[] = [];
  const handled: unknown[] = [];
  const userData = { transport: { onData: (text: string) => void passedOn.push(text) } };
  const ws = { getUserData: () => userData, send: (text: string) => void sent.push(text) };
  const upgrade = vi.fn();
  const conn = {
    readyState: "open",
    pingTimeoutTimer: null as unknown,
    hasRefreshedPingTimeout: undefined as boolean | undefined,
    transport: options.upgrades ? { name: "polling" } : { name: "websocket", socket: ws },
    once: (_event: string, listener: () => void) => upgrade.mockImplementation(listener),
  };
  const socket = {
    id: "s1",
    connected: true,
    conn,
    onAny: () => undefined,
    data: { caller: { userId: "alice", expiresAt: new Date(Date.now() + 3_600_000) } },
  };
  const table = new CallTable("/player", {
    limits: { take: () => undefined },
    metrics: createMetrics(),
    logger: createLogger({ level: "silent" }),
  });
  let answerLater: (() => void) | null = null;
  table.onFrequent("beat", z.object({ n: z.number() }), (payload, _socket, answer) => {
    handled.push(payload);
    answerLater = () => answer.give({ sum: payload.n + 1 });
    if (payload.n >= 0) answerLater();
  });

  let behavior: WebSocketBehavior<unknown> = {};
  const app = {
    ws: (_path: string, given: WebSocketBehavior<unknown>) => {
      behavior = given;
    },
  } as unknown as TemplatedApp;
  readDirectFrames(app, (_, work) => void work());
  const beneath = vi.fn();
  app.ws("/*", { message: beneath });
  new NamespaceFrames("/player", "beat", table).serve(socket as unknown as GatewaySocket);
  return {
    sent,
    passedOn,
    handled,
    beneath,
    conn,
    socket,
    upgrade() {
      conn.transport = { name: "websocket", socket: ws };
      upgrade();
    },
    answer: () => answerLater?.(),
    receive(text: string, isBinary = false) {
      const { buffer, byteOffset, byteLength } = Buffer.from(text);
      behavior.message?.(ws as never, buffer.slice(byteOffset, byteOffset + byteLength) as ArrayBuffer, isBinary);
    },
  };
}

describe("a frame of a frequent call", () => {
  it("reaches its handler, and is acked with the same bytes as Socket.IO's own acks", () => {
    const { receive, sent, passedOn } = connect();
    receive('42/player,0["beat",{"n":1}]');
    receive('42/player,17["beat",{"n":41,"é":"😀"}]');
    expect(sent).toEqual(['43/player,0[{"ok":true,"sum":2}]', '43/player,17[{"ok":true,"sum":42}]']);
    expect(passedOn).toEqual([]);
  });

  it("is refused as bad_request where its payload does not fit the schema", () => {
    const { receive, sent, handled } = connect();
    receive('42/player,3["beat",{"n":"1"}]');
    receive('42/player,4["beat",null]');
    expect(sent.map((frame) => frame.slice(0, 24))).toEqual(['43/player,3[{"ok":false,', '43/player,4[{"ok":false,']);
    expect(sent.every((frame) => frame.includes('"code":"bad_request"'))).toBe(true);
    expect(handled).toEqual([]);
  });

  it.each([
    ["of another event", '42/player,1["other",{"n":1}]'],
    ["of another namespace", '42/dashboard,1["beat",{"n":1}]'],
    ["of a namespace that begins alike", '42/player2,1["beat",{"n":1}]'],
    ["without an ack", '42/player,["beat",{"n":1}]'],
    ["without a payload", '42/player,1["beat"]'],
    ["with two payloads", '42/player,1["beat",{"n":1},{"n":2}]'],
    ["with two arrays", '42/player,1["beat",{"n":1}],[2]'],
    ["with a blank that Socket.IO never writes", '42/player,1[ "beat",{"n":1}]'],
    ["with an id past all counting", '42/player,1234567890["beat",{"n":1}]'],
    ["that is cut off", '42/player,1["beat",{"n":1}'],
    ["that is no JSON", '42/player,1["beat",{n:1}]'],
    ["that is an ack", '43/player,1["beat",{"n":1}]'],
    ["that is a pong", "3"],
    ["that is empty", ""],
  ])("%s is left to Socket.IO as it is", (_what, frame) => {
    const { receive, passedOn, handled, sent } = connect();
    receive(frame);
    expect(passedOn).toEqual([frame]);
    expect(handled).toEqual([]);
    expect(sent).toEqual([]);
  });

  it("is left to Socket.IO where it is binary", () => {
    const { receive, beneath, handled } = connect();
    receive('42/player,1["beat",{"n":1}]', true);
    expect(beneath).toHaveBeenCalledOnce();
    expect(handled).toEqual([]);
  });

  it("is left to Socket.IO where it is the first one after a ping, and read directly after that", () => {
    const { receive, conn, passedOn, sent } = connect();
    conn.pingTimeoutTimer = {};
    conn.hasRefreshedPingTimeout = false;
    receive('42/player,1["beat",{"n":1}]');
    expect(passedOn).toHaveLength(1);
    conn.hasRefreshedPingTimeout = true;
    receive('42/player,2["beat",{"n":1}]');
    expect(sent).toHaveLength(1);
  });

  it("is left to Socket.IO once the socket has left its namespace", () => {
    const { receive, socket, conn, passedOn } = connect();
    socket.connected = false;
    receive('42/player,1["beat",{"n":1}]');
    socket.connected = true;
    conn.readyState = "closing";
    receive('42/player,2["beat",{"n":1}]');
    expect(passedOn).toHaveLength(2);
  });

  it("gets no ack once the socket has left", () => {
    const { receive, socket, handled, sent, answer } = connect();
    receive('42/player,1["beat",{"n":-1}]');
    expect(handled).toHaveLength(1);
    socket.connected = false;
    answer();
    expect(sent).toEqual([]);
  });

  it("is read directly after the upgrade of a connection that began with polling", () => {
    const { receive, upgrade, beneath, sent } = connect({ upgrades: true });
    receive('42/player,1["beat",{"n":1}]');
    expect(beneath).toHaveBeenCalledOnce();
    upgrade();
    receive('42/player,2["beat",{"n":1}]');
    expect(sent).toEqual(['43/player,2[{"ok":true,"sum":2}]']);
  });
});
