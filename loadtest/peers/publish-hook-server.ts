import { createHash } from "node:crypto";
import type { IncomingMessage, ServerResponse } from "node:http";
import pg from "pg";
import { cpuSeconds } from "../harness/process-cpu.ts";
import { serveCommands } from "../harness/worker.ts";
import { readBody, servePosts } from "./post-server.ts";

/*
 * How stream keys are usually checked: a media server posts to an on_publish hook, which looks the key's hash up and
 * notes the publisher, a statement each. As fast as that goes in Node: prepared statements, a pool, keep-alive, a table
 * with one index, updates that stay on their page.
 */

const SCHEMA = `
CREATE TABLE hook_streams (
  key_hash bytea PRIMARY KEY, id text NOT NULL, title text NOT NULL, status text NOT NULL, expires_at timestamptz,
  publisher text, checked_at timestamptz
) WITH (fillfactor = 50)`;

async function start(options: { databaseUrl: string; poolSize: number; keys: string[] }): Promise<{ port: number }> {
  const pool = new pg.Pool({ connectionString: options.databaseUrl, max: options.poolSize });
  // The database may be stopped first.
  pool.on("error", () => undefined);
  await pool.query(SCHEMA);
  await pool.query(
    `INSERT INTO hook_streams SELECT hash, 'load-' || i, 'Load ' || i, 'live' FROM unnest($1::bytea[]) WITH ORDINALITY AS k (hash, i)`,
    [options.keys.map(hashOf)],
  );
  await pool.query("VACUUM (ANALYZE) hook_streams");

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const fields = new URLSearchParams(await readBody(request));
    const hash = hashOf(fields.get("name") ?? "");
    const { rows } = await pool.query<{ status: string; expires_at: Date | null }>({
      name: "find",
      text: "SELECT id, title, status, expires_at FROM hook_streams WHERE key_hash = $1",
      values: [hash],
    });
    const [stream] = rows;
    if (stream?.status !== "live" || (stream.expires_at !== null && stream.expires_at.getTime() < Date.now())) {
      response.writeHead(403, { "content-length": 0 }).end();
      return;
    }
    await pool.query({
      name: "note",
      text: "UPDATE hook_streams SET publisher = $2, checked_at = now() WHERE key_hash = $1",
      values: [hash, fields.get("clientid")],
    });
    response.writeHead(200, { "content-length": 0 }).end();
  }

  return await servePosts(handle);
}

function hashOf(key: string): Buffer {
  return createHash("sha256").update(key).digest();
}

serveCommands({ start, cpuSeconds });
