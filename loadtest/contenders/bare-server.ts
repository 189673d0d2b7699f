import { listen } from "../../src/uws/listen.ts";
import { App, type WebSocket } from "../../src/uws/uws.ts";
import { serveCommands } from "../harness/child-process.ts";
import type { CatalogueFile } from "../load/catalogue.ts";
import { type BareBatches, type BareRow, openBareBatches } from "./bare-batches.ts";

/*
 * uWebSockets.js with as little code as possible: the least that a call, a delivery or an idle connection costs. It speaks
 * just enough Socket.IO for clients to connect, and checks no token. Its answers to calls:
 *
 *   subscribe   the socket joins a topic of uWebSockets.js
 *   content     the server keeps the frame of all updates, and their topics
 *   update      the server puts a number into the frame, and publishes the frame
 *   all others  get the same ack: at once; with a database, after COMMIT of the batch that has the call's heartbeat
 */

export interface StartBareServer {
  /** The JSON of all acks, as long as an ack of Playhead. */
  ack?: string;
  /** The server writes heartbeats into this database before it acks them. */
  database?: { url: string; files: CatalogueFile[] };
}

interface Connection {
  /** The user of the handshake's token, unchecked. */
  userId: string;
  isOpen: boolean;
  content: { topics: string[]; before: string; after: string } | null;
}

/** Like Playhead: a ping every 15 s, closed 20 s later. uWebSockets.js pings when half of this time is left. */
const IDLE_TIMEOUT_SECONDS = 36;
const MAX_BACKPRESSURE = 1_048_576;
const OPEN = `0${JSON.stringify({ sid: "bare", upgrades: [], pingInterval: 3_600_000, pingTimeout: 3_600_000, maxPayload: 65_536 })}`;
const SUBSCRIBED = '[{"ok":true}]';

async function start({ ack = SUBSCRIBED, database }: StartBareServer = {}): Promise<number> {
  const hold = database === undefined ? null : holdBeats(await openBareBatches(database.url, "sums"), database.files);
  const app = App();

  function onCall(socket: WebSocket<Connection>, head: string, event: string, payload: never): void {
    const connection = socket.getUserData();
    if (event === "subscribe") {
      socket.subscribe((payload as { topic: string }).topic);
      socket.send(head + SUBSCRIBED);
    } else if (event === "content") connection.content = payload;
    else if (event === "update" && connection.content !== null) {
      const { topics, before, after } = connection.content;
      const frame = `42/dashboard,["update",${before}${payload}${after}]`;
      for (const topic of topics) app.publish(topic, frame);
    } else if (hold === null) socket.send(head + ack);
    else hold(connection.userId, payload, () => connection.isOpen && socket.send(head + ack));
  }

  app.ws<Connection>("/*", {
    compression: 0,
    maxPayloadLength: 64 * 1024,
    maxBackpressure: MAX_BACKPRESSURE,
    idleTimeout: IDLE_TIMEOUT_SECONDS,
    upgrade: (response, request, context) => {
      const [key, protocol, extensions] = ["key", "protocol", "extensions"].map((name) =>
        request.getHeader(`sec-websocket-${name}`),
      ) as [string, string, string];
      response.upgrade<Connection>({ userId: "", isOpen: true, content: null }, key, protocol, extensions, context);
    },
    open: (socket) => void socket.send(OPEN),
    message: (socket, message) => {
      const text = Buffer.from(message).toString("latin1");
      const comma = text.indexOf(",") + 1;
      if (text.startsWith("42")) {
        const at = text.indexOf("[", comma);
        const [event, payload] = JSON.parse(text.slice(at)) as [string, never];
        onCall(socket, `43${text.slice(2, at)}`, event, payload);
      } else if (text.startsWith("40")) {
        if (hold !== null) socket.getUserData().userId = readSubject(text.slice(comma));
        socket.send(`${text.slice(0, comma)}{"sid":"bare"}`);
      }
    },
    close: (socket) => {
      socket.getUserData().isOpen = false;
    },
  });
  return (await listen(app, { host: "127.0.0.1", port: 0 })).port;
}

function readSubject(authJson: string): string {
  const { token } = JSON.parse(authJson) as { token: string };
  const payload = Buffer.from(token.split(".")[1] ?? "", "base64url").toString();
  return (JSON.parse(payload) as { sub: string }).sub;
}

interface Beat {
  fileId: string;
  position: number;
  played: [fromSeconds: number, toSeconds: number][];
}

/** The values of Playhead. */
const FLUSH_INTERVAL_MS = 50;
const MAX_BATCH = 1000;

/**
 * Holds heartbeats and their acks until their batch is written. During the write the next batch fills. A batch is written
 * when it is full, or at the next interval. @returns a function that takes a heartbeat
 */
export function holdBeats(
  batches: BareBatches,
  catalogue: readonly CatalogueFile[],
): (userId: string, beat: Beat, ack: () => void) => void {
  const files = new Map(catalogue.map((file) => [file.id, file]));
  /** By user, because a user of this load watches one file. */
  const held = new Map<string, { row: BareRow; acks: (() => void)[] }>();
  let isWriting = false;

  async function flush(): Promise<void> {
    if (isWriting || held.size === 0) return;
    isWriting = true;
    // In the order of Playhead's batches.
    const batch = [...held].slice(0, MAX_BATCH).sort(([a], [b]) => (a < b ? -1 : 1));
    for (const [user] of batch) held.delete(user);
    await batches.write(batch.map(([, { row }]) => row));
    for (const [, { acks }] of batch) for (const ack of acks) ack();
    isWriting = false;
    if (held.size >= MAX_BATCH) void flush();
  }

  // A write that fails ends the process as an unhandled rejection.
  setInterval(() => void flush(), FLUSH_INTERVAL_MS);
  return (userId, { fileId, position, played }, ack) => {
    const { lessonId, courseId } = files.get(fileId) as CatalogueFile;
    const ranges = played.map(([from, to]) => [Math.round(from * 1000), Math.round(to * 1000)] as const);
    const { row, acks } = held.get(userId) ?? { row: null, acks: [] };
    const positionMs = Math.round(position * 1000);
    held.set(userId, {
      row: { userId, fileId, lessonId, courseId, positionMs, played: [...(row?.played ?? []), ...ranges] },
      acks: [...acks, ack],
    });
    if (held.size >= MAX_BATCH) void flush();
  };
}

serveCommands({ start });
