import type { IncomingMessage, ServerResponse } from "node:http";
import pg from "pg";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { cpuSeconds } from "../harness/process-cpu.ts";
import { serveCommands } from "../harness/worker.ts";
import { readBody, servePosts } from "./post-server.ts";
import { RECOUNT_SCHEMA } from "./recount-schema.ts";

/*
 * The design of the reference document: one POST and one upsert a heartbeat, a row trigger that recounts lesson and
 * course. As fast as that design goes in Node: prepared statements, a pool, keep-alive, tokens verified once.
 */

interface Body {
  file_id: string;
  progress_seconds: number;
  progress_percentage: number;
  completed: boolean;
}

interface CatalogueFile {
  lessonId: string;
  courseId: string;
}

const UPSERT = `
INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, progress_seconds, progress_percentage, completed, last_watched, updated_at)
VALUES ($1, $2, $3, $4, $5, $6, $7, now(), now())
ON CONFLICT (user_id, file_id) DO UPDATE SET progress_seconds = excluded.progress_seconds,
  progress_percentage = excluded.progress_percentage, completed = excluded.completed,
  last_watched = excluded.last_watched, updated_at = excluded.updated_at
RETURNING user_id, file_id, progress_seconds, progress_percentage::float8, completed, last_watched`;

async function start(options: {
  databaseUrl: string;
  secret: string;
  poolSize: number;
  files: { id: string; lessonId: string; courseId: string }[];
}) {
  const pool = new pg.Pool({
    connectionString: options.databaseUrl,
    max: options.poolSize,
    application_name: "loadtest-recount",
  });
  await pool.query(RECOUNT_SCHEMA);
  await pool.query("INSERT INTO files SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[])", [
    options.files.map((file) => file.id),
    options.files.map((file) => file.lessonId),
    options.files.map((file) => file.courseId),
    options.files.map(() => 360_000),
  ]);
  await pool.query("ANALYZE");
  const files = new Map<string, CatalogueFile>(options.files.map((file) => [file.id, file]));
  const tokens = createBuiltinTokens({ secret: options.secret, ttlSeconds: 3600 });
  const users = new Map<string, string>();

  async function authenticate(request: IncomingMessage): Promise<string> {
    const token = request.headers.authorization?.slice("Bearer ".length) ?? "";
    const known = users.get(token);
    if (known !== undefined) return known;
    const { userId } = await tokens.verify(token);
    users.set(token, userId);
    return userId;
  }

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const userId = await authenticate(request);
    const body = JSON.parse(await readBody(request)) as Body;
    const file = files.get(body.file_id);
    if (file === undefined || !(body.progress_seconds >= 0) || !(body.progress_percentage >= 0)) {
      response.writeHead(400).end();
      return;
    }
    const { rows } = await pool.query({
      name: "upsert",
      text: UPSERT,
      values: [
        userId,
        body.file_id,
        file.lessonId,
        file.courseId,
        body.progress_seconds,
        body.progress_percentage,
        body.completed,
      ],
    });
    const text = JSON.stringify(rows[0]);
    response
      .writeHead(200, { "content-type": "application/json", "content-length": Buffer.byteLength(text) })
      .end(text);
  }

  return await servePosts(handle);
}

serveCommands({ start, cpuSeconds });
