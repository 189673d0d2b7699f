import { Command } from "commander";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { addDoctorCommand } from "../../src/cli/doctor.ts";
import { loadConfig } from "../../src/config.ts";
import { migrate } from "../../src/db/migrate.ts";
import { createLogger } from "../../src/logger.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { applyByName, createEarlierDatabase, STREAM_KEY, seedEarlierDatabase } from "../helpers/earlier-database.ts";
import { type EarlierSchema, readEarlierSchemas, readLastBeforeSquash } from "../helpers/earlier-schemas.ts";
import { connectMediaServer } from "../helpers/media-server.ts";
import { recount } from "../helpers/recount.ts";
import { readSchemaCatalogue } from "../helpers/schema-catalogue.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { connect } from "../helpers/socket-client.ts";
import { startTestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * Databases with rows, as every commit that changed `migrations/` made them, under the server of today. None is left out.
 */

const RTMP_SECRET = "the-secret-of-a-media-server";
const logger = createLogger({ level: "silent" });
const schemas = await readEarlierSchemas();

let database: TestDatabase;
let schemaOfToday: Awaited<ReturnType<typeof readSchema>>;
beforeAll(async () => {
  const fresh = await createTestDatabase();
  schemaOfToday = await readSchema(fresh);
  await fresh.drop();
});
afterEach(() => database.drop());

/** Rows as an upgrade must keep them. Sums, versions and columns that catalogues decide are checked by a recount. */
const KEPT = {
  settings: "SELECT * FROM settings WHERE name <> 'cluster'",
  users: "SELECT * FROM users",
  catalogue: `SELECT f.id, f.title, duration_ms, required, f.retired_at, l.title AS lesson, c.title AS course
    FROM files f JOIN lessons l ON l.id = lesson_id JOIN courses c ON c.id = f.course_id`,
  user_progress: `SELECT id, user_id, file_id, lesson_id, course_id, position_ms, watched::text, watch_time_ms, reported_bp,
    completed, completion_source, epoch, reset_at, last_watched, position_session, position_seq, writer_session, writer_seq,
    created_at FROM user_progress`,
  user_activity_log: "SELECT * FROM user_activity_log",
  streams: "SELECT id, user_id, title, key_hash, key_prefix, status, started_at, ended_at FROM streams",
  stream_sessions: "SELECT id, stream_id, claim, server, connection, state, started_at, ended_at FROM stream_sessions",
  mirror: "SELECT enabled, project, cursor::text, pass, held FROM mirror WHERE enabled",
  progress_journal:
    "SELECT xid::text, id, changed_users, changed_files, deleted_users, deleted_files FROM progress_journal",
};

/** Empty where a table is missing. */
async function readKept(): Promise<Record<string, unknown[]>> {
  const found: Record<string, unknown[]> = {};
  for (const [table, sql] of Object.entries(KEPT)) {
    const rows = await database.query<{ there: boolean }>(
      "SELECT to_regclass($1) IS NOT NULL OR $1 = 'catalogue' AS there",
      [table],
    );
    found[table] = rows[0]?.there ? await database.query(`SELECT * FROM (${sql}) AS t ORDER BY t::text`) : [];
  }
  return found;
}

/** The lines of `playhead doctor` that are not ok. */
async function runDoctor(): Promise<string[]> {
  const lines: string[] = [];
  const program = new Command();
  const readSetting = () => ({ config: loadConfig(serverEnv(database)), logger });
  addDoctorCommand(program, { readSetting, print: (line) => void lines.push(line), note: () => undefined });
  await program.parseAsync(["doctor"], { from: "user" });
  process.exitCode = undefined;
  expect(lines.length).toBeGreaterThan(6);
  return lines.filter((line) => !line.startsWith("ok "));
}

/** Without the order of columns: those that came later are the last. */
async function readSchema(of: TestDatabase) {
  const { columns, ...others } = await readSchemaCatalogue(of);
  return {
    ...others,
    columns: columns
      .filter((item) => !item.includes("........pg.dropped"))
      .map((item) => item.replace(/^(\w+) \d+ /, "$1 "))
      .sort(),
  };
}

async function expectExactSums(): Promise<void> {
  const { recounted, stored } = await recount(database);
  expect(Object.keys(stored).length).toBeGreaterThan(5);
  expect(stored).toEqual(recounted);
}

describe.each(schemas)("a database whose last migration is $label", (schema) => {
  it("keeps its rows, gets the schema and exact sums of today, and takes beats and streams", async () => {
    database = await createEarlierDatabase(schema);
    await seedEarlierDatabase(database);
    const before = await readKept();
    expect(before.user_progress).toHaveLength(8);
    await migrate({ connectionString: database.url, logger });
    expect(await readKept()).toEqual(before);
    expect(await readSchema(database)).toEqual(schemaOfToday);
    await expectExactSums();
    expect(await runDoctor()).toEqual([]);

    const server = await startTestServer(database, { RTMP_SECRETS: RTMP_SECRET });
    try {
      const player = await connect(server.url, "/player", await mintToken("cid"));
      const beat = { fileId: "f1", position: 5, played: [[0, 5]], epoch: 2, sessionId: "new", seq: 1 };
      expect(await player.call("heartbeat", beat)).toMatchObject({ ok: true, progress: { position: 5 } });
      player.close();
      const media = await connectMediaServer(server.url, { secret: RTMP_SECRET, server: "edge-2", boot: "b1" });
      const hasStreams = (before.streams ?? []).length > 0;
      if (hasStreams) await media.publish(STREAM_KEY);
      expect(await media.validate("phk_of_nobody")).toMatchObject({ ok: true, valid: false });
      media.close();
    } finally {
      await server.stop();
    }
    await expectExactSums();
    expect(await runDoctor()).toEqual([]);
  });
});

it("brings a database in line whose migrations were edited after it had had them, before texts were recorded", async () => {
  const first = schemas.find(({ migrations }) => migrations.has("0006_streams")) as EarlierSchema;
  database = await createEarlierDatabase(first);
  await applyByName(database, await readLastBeforeSquash());
  await seedEarlierDatabase(database);
  const before = await readKept();
  await migrate({ connectionString: database.url, logger });
  expect(await readKept()).toEqual(before);
  expect(await readSchema(database)).toEqual(schemaOfToday);
  await expectExactSums();
  expect(await runDoctor()).toEqual([]);
});
