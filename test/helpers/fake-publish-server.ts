import { createServer, type Server as HttpServer } from "node:http";
import type { AddressInfo } from "node:net";
import { type Namespace, Server, type Socket } from "socket.io";
import type { Ack } from "../../src/protocol/ack.ts";
import type { Refusal, Stream } from "../../src/protocol/stream.ts";
import { waitFor } from "./wait-for.ts";

/** The answer to a check of a key; `lifetimeMs` is 0 by default. */
export type FakeVerdict = { lifetimeMs?: number } | { refuse: Refusal } | { error: string };

export interface FakeCall {
  event: string;
  payload: Record<string, unknown>;
}

/** A Playhead that answers media servers as a test says. Its sessions are named `session-1`, `session-2`, … */
export interface FakePublishServer {
  url: string;
  io: Namespace;
  /** Every call that came, in order. */
  calls: FakeCall[];
  auths: Record<string, unknown>[];
  /** Handshakes, refused ones included. */
  handshakes: number;
  /** The verdict on each key; other keys are unknown. */
  keys: Map<string, FakeVerdict>;
  /** Answers an event in this way from now on; null gives no answer. */
  answer(event: string, answer: (payload: Record<string, unknown>) => Ack | null): void;
  /** Undoes `answer` for an event. */
  answerAsUsual(event: string): void;
  /** While set, handshakes are refused with this error. */
  refuse: { code: string; retryAfterMs?: number } | null;
  /** Sends the answer that `null` has kept back. */
  sendLate(event: string, ack: object): void;
  /** Waits for a call that matches. */
  heard(event: string, matches?: (payload: Record<string, unknown>) => boolean): Promise<FakeCall>;
  count(event: string): number;
  drop(sessionId: string, reason: string): void;
  stop(): Promise<void>;
  /** Starts it again on the same port. */
  start(): Promise<void>;
}

export const FAKE_STREAM: Stream = {
  id: "stream-1",
  userId: "teacher",
  title: "Live",
  status: "ready",
  keyPrefix: "abcd",
  bitrateKbps: null,
  viewers: null,
  expiresAt: null,
  startedAt: null,
  endedAt: null,
  version: 1,
};

export async function startFakePublishServer(): Promise<FakePublishServer> {
  const answers = new Map<string, (payload: Record<string, unknown>) => Ack | null>();
  const kept = new Map<string, (ack: object) => void>();
  const sessionIds = new Map<unknown, string>();
  let http: HttpServer;
  let server: Server;
  let port = 0;

  function validate({ streamKey, connectionId }: Record<string, unknown>): Ack {
    const verdict = fake.keys.get(String(streamKey)) ?? { refuse: "unknown" };
    if ("error" in verdict) return { ok: false, error: { code: verdict.error as never, message: "as the test says" } };
    if ("refuse" in verdict) return { ok: true, valid: false, reason: verdict.refuse } as Ack;
    const sessionId = sessionIds.get(connectionId) ?? `session-${sessionIds.size + 1}`;
    sessionIds.set(connectionId, sessionId);
    return { ok: true, valid: true, stream: FAKE_STREAM, sessionId, lifetimeMs: verdict.lifetimeMs ?? 0 } as Ack;
  }

  function serve(socket: Socket): void {
    fake.auths.push(socket.handshake.auth);
    socket.onAny((event: string, payload: Record<string, unknown>, reply: (ack: object) => void) => {
      fake.calls.push({ event, payload });
      const answer = answers.get(event) ?? (event === "stream:validate" ? validate : () => ({ ok: true }) as Ack);
      const ack = answer(payload);
      if (ack === null) kept.set(event, reply);
      else reply(ack);
    });
  }

  const fake: FakePublishServer = {
    url: "",
    io: undefined as never,
    calls: [],
    auths: [],
    handshakes: 0,
    keys: new Map([["right-key", {}]]),
    refuse: null,
    answer: (event, answer) => void answers.set(event, answer),
    answerAsUsual: (event) => void answers.delete(event),
    sendLate: (event, ack) => kept.get(event)?.(ack),
    async heard(event, matches = () => true) {
      return await waitFor(() => fake.calls.find((call) => call.event === event && matches(call.payload)), {
        what: `${event}; heard ${JSON.stringify(fake.calls)}`,
      });
    },
    count: (event) => fake.calls.filter((call) => call.event === event).length,
    drop: (sessionId, reason) => void fake.io.emit("stream:drop", { sessionId, reason }),
    async start() {
      http = createServer();
      server = new Server(http, { transports: ["websocket"] });
      fake.io = server.of("/rtmp");
      fake.io.use((_socket, next) => {
        fake.handshakes += 1;
        next(fake.refuse ? Object.assign(new Error(fake.refuse.code), { data: fake.refuse }) : undefined);
      });
      fake.io.on("connection", serve);
      await new Promise<void>((resolve) => http.listen(port, "127.0.0.1", resolve));
      port = (http.address() as AddressInfo).port;
      fake.url = `http://127.0.0.1:${port}`;
    },
    stop: async () => void (await server.close()),
  };
  await fake.start();
  return fake;
}
