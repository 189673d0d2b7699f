import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import pg from "pg";
import { Server, type Socket } from "socket.io";
import { createBuiltinTokens } from "../../../src/auth/builtin-tokens.ts";
import { cpuSeconds } from "../../harness/process-cpu.ts";
import { serveCommands } from "../../harness/worker.ts";

/*
 * What one would build with Socket.IO: Node's HTTP server, `ws`, the Redis adapter, one upsert an event, and an ack
 * after it. Tuned as socket.io/docs/v4/performance-tuning and /memory-usage say: WebSocket alone, no compression,
 * bufferutil (which `ws` finds by itself), the handshake's request let go.
 */

interface Beat {
  fileId: string;
  position: number;
}

interface ProgressRow {
  user_id: string;
  file_id: string;
  lesson_id: string;
  course_id: string;
  position: number;
  percentage: number;
  completed: boolean;
  last_watched: Date;
}

interface CatalogueFile {
  id: string;
  lessonId: string;
  courseId: string;
  durationSeconds: number;
}

export interface StartUpsertServer {
  databaseUrl: string;
  redisUrl: string;
  secret: string;
  poolSize: number;
  files: CatalogueFile[];
}

const TABLE = `
CREATE TABLE upserted_progress (
  user_id text NOT NULL,
  file_id text NOT NULL,
  lesson_id text NOT NULL,
  course_id text NOT NULL,
  position float8 NOT NULL,
  percentage float8 NOT NULL,
  completed boolean NOT NULL,
  last_watched timestamptz NOT NULL,
  PRIMARY KEY (user_id, file_id)
) WITH (fillfactor = 70)`;

/** The position alone: what was watched is not joined, nothing is summed up. */
const UPSERT = `
INSERT INTO upserted_progress (user_id, file_id, lesson_id, course_id, position, percentage, completed, last_watched)
VALUES ($1, $2, $3, $4, $5, $6, $7, now())
ON CONFLICT (user_id, file_id) DO UPDATE SET position = excluded.position, percentage = excluded.percentage,
  completed = upserted_progress.completed OR excluded.completed, last_watched = excluded.last_watched
RETURNING *`;

const COMPLETE_AT = 90;

let isEmitting = true;
let hasFailed = false;

async function start(options: StartUpsertServer): Promise<{ port: number }> {
  const pool = new pg.Pool({
    connectionString: options.databaseUrl,
    max: options.poolSize,
    application_name: "loadtest-socketio",
  });
  await pool.query(TABLE);
  const files = new Map(options.files.map((file) => [file.id, file]));
  const tokens = createBuiltinTokens({ secret: options.secret, ttlSeconds: 3600 });
  const publisher = new Redis(options.redisUrl);
  const http = createServer();
  const io = new Server(http, {
    transports: ["websocket"],
    perMessageDeflate: false,
    httpCompression: false,
    serveClient: false,
    adapter: createAdapter(publisher, publisher.duplicate()),
  });
  io.engine.on("connection", (connection: { request: unknown }) => {
    connection.request = null;
  });
  const dashboards = io.of("/dashboard");
  io.of("/player")
    .use((socket, next) => {
      tokens.verify(String(socket.handshake.auth.token)).then(
        ({ userId }) => {
          socket.data.userId = userId;
          next();
        },
        () => next(new Error("unauthenticated")),
      );
    })
    .on("connection", (socket) => {
      socket.on("heartbeat", (beat: Beat, ack: (answer: object) => void) => {
        onHeartbeat(socket, beat, ack).catch((error: unknown) => {
          // Where one fails thousands do; the players count them.
          if (!hasFailed) console.error(error);
          hasFailed = true;
          ack({ ok: false, error: { code: "internal" } });
        });
      });
    });

  async function onHeartbeat(socket: Socket, beat: Beat, ack: (answer: object) => void): Promise<void> {
    const file = files.get(beat.fileId);
    if (file === undefined || !(beat.position >= 0)) {
      ack({ ok: false, error: { code: "bad_request" } });
      return;
    }
    const percentage = Math.min(100, (beat.position / file.durationSeconds) * 100);
    const { rows } = await pool.query<ProgressRow>({
      name: "upsert",
      text: UPSERT,
      values: [
        socket.data.userId,
        file.id,
        file.lessonId,
        file.courseId,
        beat.position,
        percentage,
        percentage >= COMPLETE_AT,
      ],
    });
    const progress = rows[0] as ProgressRow;
    ack({ ok: true, progress });
    if (isEmitting) dashboards.to(`course:${file.courseId}`).emit("update", progress);
  }

  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  return { port: (http.address() as AddressInfo).port };
}

function emit(whether: boolean): void {
  isEmitting = whether;
}

serveCommands({ start, cpuSeconds, emit });
