import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { removeDataFolder } from "../helpers/data-folder.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { createKeyLife, type KeyLife, SECRET } from "../helpers/key-life.ts";
import { loseDatabase, meetFailures } from "../helpers/key-life-failures.ts";
import { publishByHooks } from "../helpers/key-life-hooks.ts";
import { endKeys, makeKeys } from "../helpers/key-life-owner.ts";
import { publishBySocket } from "../helpers/key-life-socket.ts";
import { findKeys, findKeysInFiles, findLeaks, toShown } from "../helpers/key-search.ts";
import { startTestPostgres, type TestPostgres } from "../helpers/postgres.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * Stream keys go through their whole life, by every interface, with everything logged: they are made, used rightly and
 * wrongly, in requests well-formed and malformed, while the database fails and while it is away, rotated, expired and
 * revoked. Then everything that anybody could read is searched: a key stands in the answer that makes it, and nowhere
 * else.
 */

/** Nobody listens there: Playhead fails to drop the publishers of this nginx. */
const DEAD_CONTROL = "http://127.0.0.1:9/control";

let folder: string;
let postgres: TestPostgres;
let server: ServerProcess;
let life: KeyLife;
let keys: string[];
let metrics: string;
let dump: string;
let output: string;
let databaseFolder: string;
let databaseLog: string;

beforeAll(async () => {
  folder = await makeTemporaryFolder();
  // PostgreSQL logs every statement with its values.
  postgres = await startTestPostgres({ log_statement: "all", log_min_messages: "info" });
  server = await startFlowServer({
    DATABASE_URL: postgres.url,
    LOG_LEVEL: "trace",
    HOOK_SECRETS: SECRET,
    RTMP_SECRETS: SECRET,
    NGINX_CONTROL_URLS: `edge-1=${DEAD_CONTROL}`,
    MAX_STREAMS_PER_USER: "1000",
    QUERY_TIMEOUT_MS: "1500",
  });
  life = createKeyLife({ server, postgres, folder, alice: await mintToken("alice") });
  ({ keys } = life);
  await life.watch("streams");
  await makeKeys(life);
  await publishBySocket(life);
  await publishByHooks(life);
  await meetFailures(life);
  await loseDatabase(life);
  await endKeys(life);
  await life.call("/v1/streams?limit=200", { method: "GET", as: await mintToken("root", "admin") });
  metrics = await (await fetch(`${server.url}/metrics`)).text();
  dump = await dumpTables();
  const [{ data_directory: dataDirectory } = { data_directory: "" }] = await life.query<{ data_directory: string }>(
    "SHOW data_directory",
  );
  databaseFolder = dataDirectory;
  for (const { ws } of life.sockets) {
    if (ws.readyState === ws.CLOSED) continue;
    ws.close();
    await once(ws, "close");
  }
  expect(await server.stop()).toBe(0);
  output = server.process.stdout() + server.process.stderr();
  await life.query("CHECKPOINT");
  databaseLog = await readDatabaseLog();
});
afterAll(async () => {
  await server?.kill();
  await postgres?.stop();
  await removeDataFolder(folder);
});

/** Every row of every table, as text. */
async function dumpTables(): Promise<string> {
  const tables = await life.query<{ name: string }>(
    `SELECT quote_ident(table_schema) || '.' || quote_ident(table_name) AS name FROM information_schema.tables
     WHERE table_schema = 'public' AND table_type = 'BASE TABLE'`,
  );
  const parts: string[] = [];
  for (const { name } of tables) {
    const rows = await life.query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`);
    parts.push(name, ...rows.map(({ row }) => row));
  }
  return parts.join("\n");
}

async function readDatabaseLog(): Promise<string> {
  return readFile(join(databaseFolder, "../postgres.log"), "utf8");
}

function toHash(key: string): string {
  return createHash("sha256").update(key).digest("hex");
}

/** The text is what the test takes it for: without these parts it would prove nothing. */
function expectAll(text: string, parts: readonly string[]): void {
  expect(parts.filter((part) => !text.includes(part))).toEqual([]);
}

/** The visible prefixes of keys that are in use now. */
function findListed(): string[] {
  const listed = keys.map(toShown).filter((shown) => dump.includes(shown));
  expect(listed.length).toBeGreaterThan(8);
  return listed;
}

function expectNone(text: string): void {
  expect(findLeaks(keys, text)).toEqual([]);
}

describe("a stream key", () => {
  it("stands in the answer that makes it, exactly once", () => {
    expect(new Set(keys).size).toBe(keys.length);
    expect(keys.length).toBeGreaterThan(10);
    expect(life.makingAnswers).toHaveLength(keys.length);
    for (const [i, answer] of life.makingAnswers.entries()) {
      expect(findKeys(keys, answer)).toEqual([toShown(keys[i] as string)]);
      expect(answer.split(keys[i] as string)).toHaveLength(2);
    }
  });

  it("is found by the search in every form: whole, in pieces, in hex and in base64", () => {
    const [key] = keys as [string];
    const forms = [`a${key}b`, key.slice(4, 30), key.slice(20), Buffer.from(`{"k":"${key}"}`).toString("base64")];
    forms.push(Buffer.from(key).toString("hex"), Buffer.from(`x${key}`).toString("base64url"));
    for (const form of forms) expect(findKeys(keys, form)).toEqual([toShown(key)]);
    expect(findKeys(keys, keys.map(toShown).join() + keys.map(toHash).join())).toEqual([]);
  });

  it("stands in no other answer", () => {
    const all = life.otherAnswers.join("\n");
    expectNone(all);
    expectAll(all, findListed());
    expectAll(
      all,
      [200, 400, 401, 403, 404, 409, 413, 415, 429, 500, 503].map((status) => `POST ${status} `),
    );
  });

  it("is in no frame of any socket", () => {
    const all = life.sockets.flatMap(({ frames }) => frames).join("\n");
    expectNone(all);
    expectAll(all, ["live", "reconnecting", "revoked", "expired", "stream:drop", "rate_limited", "internal"]);
    expectAll(all, findListed());
  });

  it("is in nothing that the server prints or logs", () => {
    expectNone(output);
    for (const text of [
      "a call was refused",
      "violates check constraint",
      "the database is away; a known key",
      "publisher",
    ]) {
      expect(output).toContain(text);
    }
  });

  it("is in no metric", () => {
    expectNone(metrics);
    expectAll(metrics, ["playhead_stream_validations_total", 'outcome="rate_limited"', "playhead_stream_drops_total"]);
  });

  it("is nowhere in the database, which has its hash", async () => {
    expectNone(dump);
    const stored = keys.filter((key) => dump.includes(`\\x${toHash(key)}`));
    expect(stored.length).toBeGreaterThan(8);
    expectAll(dump, ["stream_sessions", "ingest-1"]);
    expect(await findKeysInFiles(keys, databaseFolder)).toEqual([]);
  });

  it("is in no statement that PostgreSQL gets, but its hash is", () => {
    const others = keys.filter((key) => !life.usedAsIds.includes(key));
    expect(findLeaks(others, databaseLog)).toEqual([]);
    expectAll(
      databaseLog,
      keys.map((key) => `\\x${toHash(key)}`),
    );
  });
});
