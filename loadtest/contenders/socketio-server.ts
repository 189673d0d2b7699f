import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import pg from "pg";
import { Server, type Socket } from "socket.io";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { serveCommands } from "../harness/child-process.ts";
import { type CatalogueFile, DURATION_SECONDS } from "../load/catalogue.ts";

/*
 * The usual design with Socket.IO: Node's HTTP server, `ws` with `bufferutil`, the Redis adapter, and one upsert and one ack
 * for each event. Tuned as the pages of Socket.IO advise: WebSocket alone, no compression, the handshake's request freed.
 * https://socket.io/docs/v4/performance-tuning/  https://socket.io/docs/v4/memory-usage/
 */

export interface StartSocketIoServer {
  /** The secret of the players' tokens. */
  secret: string;
  redisUrl?: string;
  /** Absent: heartbeats are acked at once. */
  database?: { url: string; poolSize: number; files: CatalogueFile[] };
}

interface Beat {
  fileId: string;
  position: number;
}

type Ack = (answer: object) => void;

const TABLE = `
CREATE TABLE upserted_progress (
  user_id text NOT NULL, file_id text NOT NULL, lesson_id text NOT NULL, course_id text NOT NULL,
  position float8 NOT NULL, percentage float8 NOT NULL, completed boolean NOT NULL, last_watched timestamptz NOT NULL,
  PRIMARY KEY (user_id, file_id)
) WITH (fillfactor = 70)`;

/** It stores the position alone: no ranges, no sums. */
const UPSERT = `
INSERT INTO upserted_progress (user_id, file_id, lesson_id, course_id, position, percentage, completed, last_watched)
VALUES ($1, $2, $3, $4, $5, $6, $7, now())
ON CONFLICT (user_id, file_id) DO UPDATE SET position = excluded.position, percentage = excluded.percentage,
  completed = upserted_progress.completed OR excluded.completed, last_watched = excluded.last_watched
RETURNING *`;

const COMPLETE_AT = 90;

let isEmitting = true;
let hasFailed = false;

async function start({ secret, redisUrl, database }: StartSocketIoServer): Promise<number> {
  const http = createServer();
  const io = new Server(http, {
    transports: ["websocket"],
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    // The values of Playhead.
    pingInterval: 15_000,
    pingTimeout: 20_000,
    ...(redisUrl === undefined ? {} : { adapter: toAdapter(redisUrl) }),
  });
  io.engine.on("connection", (connection: { request: unknown }) => {
    connection.request = null;
  });
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 3600 });
  const upsert = database === undefined ? null : await openUpsert(database);

  async function onHeartbeat({ data }: Socket, beat: Beat, ack: Ack): Promise<void> {
    if (upsert === null) {
      ack({ ok: true });
      return;
    }
    const row = await upsert(data.userId, beat);
    ack(row === null ? { ok: false, error: { code: "bad_request" } } : { ok: true, progress: row });
    if (row !== null && isEmitting) dashboards.to(`course:${row.course_id}`).emit("update", row);
  }

  io.of("/player")
    .use((socket, next) => {
      tokens.verify(String(socket.handshake.auth.token)).then(({ userId }) => {
        socket.data.userId = userId;
        next();
      }, next);
    })
    .on("connection", (socket) => {
      socket.on("heartbeat", (beat: Beat, ack: Ack) => {
        onHeartbeat(socket, beat, ack).catch((error: unknown) => {
          // Print only the first of thousands. The players count them all.
          if (!hasFailed) console.error(error);
          hasFailed = true;
          ack({ ok: false, error: { code: "internal" } });
        });
      });
    });

  const dashboards = io.of("/dashboard").on("connection", (socket) => {
    let [topics, update]: [string[], { progress: [{ position: number }] } | null] = [[], null];
    socket.on("subscribe", ({ topic }: { topic: string }, ack: Ack) => {
      socket.join(topic);
      ack({ ok: true });
    });
    // A socket of the load starts the updates. Its messages cost next to nothing beside the deliveries.
    socket.on("content", (content: { topics: string[]; before: string; after: string }) => {
      topics = content.topics;
      update = JSON.parse(`${content.before}0${content.after}`);
    });
    socket.on("update", (number: number) => {
      if (update === null) return;
      update.progress[0].position = number;
      for (const topic of topics) dashboards.to(topic).emit("update", update);
    });
  });

  await new Promise<void>((resolve) => http.listen({ host: "127.0.0.1", port: 0, backlog: 511 }, resolve));
  return (http.address() as AddressInfo).port;
}

/** https://socket.io/docs/v4/redis-adapter/ */
function toAdapter(redisUrl: string): ReturnType<typeof createAdapter> {
  const publisher = new Redis(redisUrl);
  return createAdapter(publisher, publisher.duplicate());
}

type Upsert = (userId: string, beat: Beat) => Promise<{ course_id: string } | null>;

/** The function resolves to null for an invalid beat. */
async function openUpsert(database: NonNullable<StartSocketIoServer["database"]>): Promise<Upsert> {
  const { url, poolSize, files: all } = database;
  const pool = new pg.Pool({ connectionString: url, max: poolSize, application_name: "loadtest-socketio" });
  await pool.query(TABLE);
  const files = new Map(all.map((file) => [file.id, file]));
  return async (userId, { fileId, position }) => {
    const file = files.get(fileId);
    if (file === undefined || !(position >= 0)) return null;
    const { lessonId, courseId } = file;
    const percentage = Math.min(100, (position / DURATION_SECONDS) * 100);
    const values = [userId, fileId, lessonId, courseId, position, percentage, percentage >= COMPLETE_AT];
    const { rows } = await pool.query<{ course_id: string }>({ name: "upsert", text: UPSERT, values });
    return rows[0] ?? null;
  };
}

serveCommands({
  start,
  setEmitting: (isOn: boolean) => {
    isEmitting = isOn;
  },
});
