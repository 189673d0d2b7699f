import pg from "pg";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { onEnd } from "../harness/cleanup.ts";
import { readPostgresCpu } from "../harness/process-cpu.ts";
import { startWorker, type Worker } from "../harness/worker.ts";
import { INSTRUCTOR_ID, makeCourseTree, toCourseId, toFileId, toUserId } from "../load/catalogue.ts";
import { startPlayhead } from "../load/playhead-server.ts";
import { startRedisServer } from "../peers/socketio-fanout/redis-server.ts";
import { installSoketi } from "../peers/soketi/install.ts";
import type { DialectName } from "./dialects.ts";
import type { PublisherOptions } from "./publishers.ts";
import { FILES } from "./scenarios.ts";

/** A server that frames come from, and the process of its dashboards. */
export interface Contender {
  name: DialectName;
  port: number;
  token: string;
  publisher: PublisherOptions;
  audience: Worker;
  /** Of the server, in core-seconds. */
  readCpu(): Promise<number>;
  /** Of its database; null where it has none, or where it cannot be told. */
  readDatabaseCpu(): Promise<number | null>;
}

export const LABELS: Record<DialectName, string> = {
  playhead: "Playhead",
  bare: "(d) bare publish",
  "socket.io": "(b) Socket.IO, ws, Redis adapter",
  soketi: "(c) soketi",
};

/** As short as the configuration allows: conflation would hide what a frame costs. */
export const FRAME_INTERVAL_MS = 20;

export async function openContenders(profile: string | null): Promise<{ contenders: Contender[]; skipped: string[] }> {
  const contenders = [await openPlayhead(profile)];
  if (profile !== null) return { contenders, skipped: [] };
  const skipped: string[] = [];
  contenders.push(await openPeer("bare", new URL("../peers/bare-publish/server.ts", import.meta.url)));
  const redisUrl = await startRedisServer();
  if (redisUrl === null) skipped.push("Socket.IO with its Redis adapter is left out: there is no `redis-server` here.");
  else
    contenders.push(
      await openPeer("socket.io", new URL("../peers/socketio-fanout/server.ts", import.meta.url), { redisUrl }),
    );
  const missing = await installSoketi();
  if (missing !== null) skipped.push(`soketi is left out: ${missing}.`);
  else contenders.push(await openPeer("soketi", new URL("../peers/soketi/server.ts", import.meta.url)));
  return { contenders, skipped };
}

async function openPlayhead(profile: string | null): Promise<Contender> {
  const server = await startPlayhead({ profile, env: { FRAME_INTERVAL_MS: String(FRAME_INTERVAL_MS) } });
  const tokens = createBuiltinTokens({ secret: server.secret, ttlSeconds: 3600 });
  const { token } = await tokens.mint({ userId: INSTRUCTOR_ID, role: "instructor" });
  const response = await fetch(`${server.url}/v1/courses/${toCourseId(0)}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: JSON.stringify(makeCourseTree(0, FILES)),
  });
  if (!response.ok) throw new Error(`the course was refused: ${response.status} ${await response.text()}`);
  await fillRows(server.databaseUrl);
  return {
    name: "playhead",
    port: Number(new URL(server.url).port),
    token,
    publisher: { kind: "rows", databaseUrl: server.databaseUrl },
    audience: startWorker(new URL("./audience.ts", import.meta.url)),
    readCpu: async () => (await server.readMetrics()).get("playhead_process_cpu_seconds_total") ?? 0,
    readDatabaseCpu: () => readPostgresCpu(server.dataDir),
  };
}

/** Of every file one learner's row. */
async function fillRows(databaseUrl: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl });
  await client.connect();
  const users = Array.from({ length: FILES }, (_, i) => toUserId(i));
  const files = Array.from({ length: FILES }, (_, i) => toFileId(0, i));
  await client.query("INSERT INTO users (id) SELECT unnest($1::text[])", [users]);
  await client.query(
    `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id)
     SELECT k.user_id, f.id, f.lesson_id, f.course_id
     FROM unnest($1::text[], $2::text[]) AS k (user_id, file_id) JOIN files AS f ON f.id = k.file_id`,
    [users, files],
  );
  await client.query("ANALYZE");
  await client.end();
}

async function openPeer(name: DialectName, url: URL, argument?: object): Promise<Contender> {
  const server = startWorker(url);
  const { port } = await server.call<{ port: number }>("start", argument);
  const audience = startWorker(new URL("./audience.ts", import.meta.url));
  onEnd(() => audience.stop());
  return {
    name,
    port,
    token: "",
    publisher:
      name === "soketi"
        ? { kind: "soketi", port }
        : { kind: "socket", url: `ws://127.0.0.1:${port}${name === "bare" ? "/" : "/rounds"}` },
    audience,
    readCpu: () => server.call<number>("cpu"),
    readDatabaseCpu: async () => null,
  };
}
