import { createHash } from "node:crypto";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import pg from "pg";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { serveCommands } from "../harness/child-process.ts";
import { type CatalogueFile, DURATION_SECONDS } from "../load/catalogue.ts";
import { RECOUNT_SCHEMA } from "./recount-schema.ts";

/*
 * Two designs that take a POST, as fast as Node makes them: its HTTP server with keep-alive, a pool, prepared statements.
 *
 *   recount      the design of the reference document: one upsert for each heartbeat, and a row trigger that recounts the
 *                lesson and the course; a token is verified at its first use
 *   publishHook  the usual check of stream keys: a media server posts to an on_publish hook, which finds the key's hash by
 *                one statement and stores the publisher by another
 */

export interface StartPostServer {
  databaseUrl: string;
  poolSize: number;
  recount?: { secret: string; files: CatalogueFile[] };
  publishHook?: { keys: string[] };
}

type Handle = (request: IncomingMessage, body: string) => Promise<{ status: number; json?: object | undefined }>;

const KEEP_ALIVE_MS = 60_000;

async function start({ databaseUrl, poolSize, recount, publishHook }: StartPostServer): Promise<number> {
  const pool = new pg.Pool({ connectionString: databaseUrl, max: poolSize, application_name: "loadtest-posts" });
  // A database that stops first ends the connections.
  pool.on("error", () => undefined);
  const handle =
    recount === undefined ? await openPublishHook(pool, publishHook?.keys ?? []) : await openRecount(pool, recount);
  let hasFailed = false;
  const server = createServer(async (request, response) => {
    const answer = await readBody(request)
      .then((body) => handle(request, body))
      .catch((error: unknown) => {
        // Print only the first of thousands. The clients count them all.
        if (!hasFailed) console.error(error);
        hasFailed = true;
        return { status: 500 };
      });
    send(response, answer);
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return (server.address() as AddressInfo).port;
}

/** The load sends ASCII. */
function readBody(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    request.setEncoding("latin1");
    request.on("data", (chunk: string) => {
      text += chunk;
    });
    request.on("end", () => resolve(text));
    request.on("error", reject);
  });
}

function send(response: ServerResponse, { status, json }: Awaited<ReturnType<Handle>>): void {
  const text = json === undefined ? "" : JSON.stringify(json);
  const type = json === undefined ? {} : { "content-type": "application/json" };
  response.writeHead(status, { ...type, "content-length": Buffer.byteLength(text) }).end(text);
}

const UPSERT = `
INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, progress_seconds, progress_percentage, completed, last_watched, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, now(), now())
ON CONFLICT (user_id, file_id) DO UPDATE SET progress_seconds = excluded.progress_seconds,
  progress_percentage = excluded.progress_percentage, completed = excluded.completed,
  last_watched = excluded.last_watched, updated_at = excluded.updated_at
RETURNING user_id, file_id, progress_seconds, progress_percentage::float8, completed, last_watched`;

interface Progress {
  file_id: string;
  progress_seconds: number;
  progress_percentage: number;
  completed: boolean;
}

async function openRecount(
  pool: pg.Pool,
  { secret, files: all }: NonNullable<StartPostServer["recount"]>,
): Promise<Handle> {
  await pool.query(RECOUNT_SCHEMA);
  await pool.query("INSERT INTO files SELECT *, $4::integer FROM unnest($1::text[], $2::text[], $3::text[])", [
    ...(["id", "lessonId", "courseId"] as const).map((key) => all.map((file) => file[key])),
    DURATION_SECONDS,
  ]);
  await pool.query("ANALYZE");
  const files = new Map(all.map((file) => [file.id, file]));
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 3600 });
  const users = new Map<string, string>();
  return async (request, text) => {
    const token = request.headers.authorization?.slice("Bearer ".length) ?? "";
    const userId = users.get(token) ?? (await tokens.verify(token)).userId;
    users.set(token, userId);
    const { file_id, progress_seconds, progress_percentage, completed } = JSON.parse(text) as Progress;
    const file = files.get(file_id);
    if (file === undefined || !(progress_seconds >= 0) || !(progress_percentage >= 0)) return { status: 400 };
    const values = [userId, file_id, file.lessonId, file.courseId, progress_seconds, progress_percentage, completed];
    const { rows } = await pool.query<object>({ name: "upsert", text: UPSERT, values });
    return { status: 200, json: rows[0] };
  };
}

const HOOK_SCHEMA = `
CREATE TABLE hook_streams (
  key_hash bytea PRIMARY KEY, id text NOT NULL, title text NOT NULL, status text NOT NULL, expires_at timestamptz,
  publisher text, checked_at timestamptz
) WITH (fillfactor = 50)`;
const FILL_STREAMS =
  "INSERT INTO hook_streams SELECT hash, 'load-' || i, 'Load ' || i, 'live' FROM unnest($1::bytea[]) WITH ORDINALITY AS k (hash, i)";
const FIND = "SELECT id, title, status, expires_at FROM hook_streams WHERE key_hash = $1";
const NOTE = "UPDATE hook_streams SET publisher = $2, checked_at = now() WHERE key_hash = $1";

async function openPublishHook(pool: pg.Pool, keys: string[]): Promise<Handle> {
  const hashOf = (key: string) => createHash("sha256").update(key).digest();
  await pool.query(HOOK_SCHEMA);
  await pool.query(FILL_STREAMS, [keys.map(hashOf)]);
  await pool.query("VACUUM (ANALYZE) hook_streams");
  return async (_, body) => {
    const fields = new URLSearchParams(body);
    const hash = hashOf(fields.get("name") ?? "");
    const found = await pool.query<{ status: string; expires_at: Date | null }>({
      name: "find",
      text: FIND,
      values: [hash],
    });
    const [stream] = found.rows;
    const isOver = stream?.expires_at != null && stream.expires_at.getTime() < Date.now();
    if (stream?.status !== "live" || isOver) return { status: 403 };
    await pool.query({ name: "note", text: NOTE, values: [hash, fields.get("clientid")] });
    return { status: 200 };
  };
}

serveCommands({ start });
