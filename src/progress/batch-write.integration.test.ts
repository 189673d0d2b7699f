import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createPool, type Pool } from "../db/pool.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { type Observation, toPendingBeat } from "./pending-beat.ts";
import { ProgressWriter } from "./progress-writer.ts";

/*
 * PostgreSQL plans the statements of a batch once a connection, perhaps at a first start with empty tables, and keeps the
 * plans while the tables grow.
 */

const USERS = 2000;
const FILES = ["f", "g", "h"];
const logger = createLogger({ level: "silent" });

let database: TestDatabase;
let pool: Pool;

beforeAll(async () => {
  database = await createTestDatabase();
  const files = FILES.map((id) => ({ id, title: id, durationSeconds: 100 }));
  await createCatalogueStore({ pool: database.pool }).put("c", {
    title: "Course",
    lessons: [
      { id: "l", title: "Lesson", files: files.slice(0, 2) },
      { id: "m", title: "Other", files: files.slice(2) },
    ],
  });
  const options = { pipeline: true };
  pool = createPool({
    connectionString: database.url,
    max: 1,
    queryTimeoutMs: 20_000,
    applicationName: "writer",
    logger,
    options,
  });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

function createWriter(from: Pool): ProgressWriter {
  return new ProgressWriter({
    pool: from,
    catalogue: new CatalogueCache({ pool: from }),
    metrics: createMetrics(),
    logger,
  });
}

async function write(writer: ProgressWriter, ...given: Partial<Observation>[]): Promise<void> {
  const beats = given.map((beat) =>
    toPendingBeat({
      userId: "u",
      fileId: "f",
      courseId: "c",
      positionMs: 0,
      observedAtMs: performance.now(),
      session: "s",
      played: [],
      ...beat,
    }),
  );
  for (const result of await writer.write(beats)) expect(result.type).toBe("written");
}

/** Rows that all sessions so far read of every table, the writer's included. */
async function rowsRead(): Promise<Map<string, number>> {
  await pool.query("SELECT pg_stat_force_next_flush()");
  const { rows } = await pool.query<{ name: string; read: number }>(
    "SELECT relname AS name, seq_tup_read + coalesce(idx_tup_fetch, 0) AS read FROM pg_stat_user_tables",
  );
  return new Map(rows.map(({ name, read }) => [name, read]));
}

it("reads only the rows that a batch is about, even if the batch was planned for empty tables", async () => {
  await database.query("ANALYZE");
  const writer = createWriter(pool);
  await write(writer, { seq: 1, played: [[0, 1000]] }, { fileId: "g", seq: 1, session: "t" }, { fileId: "h", seq: 1 });
  await write(writer, { seq: 2, played: [[1000, 2000]] });

  const other = createWriter(database.pool);
  const users = Array.from({ length: USERS }, (_, i) => ({ userId: `user-${i}`, seq: 1 }));
  for (const fileId of FILES) await write(other, ...users.map((user) => ({ ...user, fileId })));

  const before = await rowsRead();
  const goesOn = { seq: 3, played: [[2000, 3000]] as const };
  const changesSession = { fileId: "g", seq: 1, session: "v" };
  const changesNothing = { fileId: "h", seq: 1, observedAtMs: 0 };
  const isNew = { userId: "new", seq: 1 };
  await write(writer, goesOn, changesSession, changesNothing, isNew);
  for (const [table, read] of await rowsRead()) {
    expect(read - (before.get(table) ?? 0), `rows read of ${table}`).toBeLessThan(USERS / 20);
  }
});
