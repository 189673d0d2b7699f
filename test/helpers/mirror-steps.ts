import { afterAll, afterEach, beforeAll, beforeEach, expect } from "vitest";
import { createLogger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { toDocumentId } from "../../src/mirror/document-id.ts";
import { openFirestore } from "../../src/mirror/firestore.ts";
import { FirestoreMirror } from "../../src/mirror/firestore-mirror.ts";
import { readHorizon } from "../../src/mirror/journal.ts";
import { MirrorFollower } from "../../src/mirror/mirror-follower.ts";
import { readLag } from "../../src/mirror/mirror-lag.ts";
import { loadState } from "../../src/mirror/mirror-state.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { startTestFirestore, type TestFirestore } from "./firestore.ts";
import { createMirroredCourse } from "./mirrored-course.ts";
import type { TestPostgres } from "./postgres.ts";
import { startTestPostgres } from "./postgres.ts";
import { waitFor } from "./wait-for.ts";

/** The project that the fake Firestore has. */
export const PROJECT = "mirror-test";
/** The path of a row's document. */
export const pathOf = (userId: string, fileId = "file") =>
  `users/${toDocumentId(userId)}/progress/${toDocumentId(fileId)}`;

type StepName = "createFollower" | "level" | "versions" | "expectEqual";

/**
 * A database with a course, Firestore, and a follower that has brought both level. A test may put others in their places;
 * what stands there in the end is stopped after the test.
 */
export interface MirrorSteps {
  /** Of one file of tests alone: a transaction of another test would hold the follower back. */
  postgres: TestPostgres;
  database: TestDatabase;
  firestore: TestFirestore;
  course: Awaited<ReturnType<typeof createMirroredCourse>>;
  mirror: FirestoreMirror;
  metrics: ReturnType<typeof createMetrics>;
  follower: MirrorFollower;
  createFollower(): MirrorFollower;
  /** Resolves when nothing waits to be mirrored. */
  level(): Promise<true>;
  /** The versions of all rows by the paths of their documents, in the database and in Firestore. */
  versions(): Promise<{ stored: Record<string, number>; mirrored: Record<string, unknown> }>;
  /** Fails where Firestore has not what the database has. @returns the versions of all rows */
  expectEqual(): Promise<Record<string, number>>;
}

/** Starts PostgreSQL and Firestore before the tests of a file, and begins with an empty mirror before each test. */
export function useMirrorSteps(onStarted: (steps: MirrorSteps) => void): void {
  let postgres: TestPostgres;
  let firestore: TestFirestore;
  let at: MirrorSteps;

  beforeAll(async () => {
    postgres = await startTestPostgres();
    firestore = await startTestFirestore();
  });
  afterAll(async () => {
    await firestore.stop();
    await postgres.stop();
  });
  beforeEach(async () => {
    const database = await createTestDatabase({ server: postgres.url });
    const course = await createMirroredCourse(database);
    const mirror = new FirestoreMirror(await openFirestore({ projectId: PROJECT, deadlineMs: 5000 }));
    for await (const { rows } of mirror.pages()) await mirror.commit(rows.map((row) => ({ ...row, row: null })));
    at = createMirrorSteps({ postgres, firestore, database, course, mirror, metrics: createMetrics() });
    at.follower.start();
    await at.level();
    onStarted(at);
  });
  afterEach(async () => {
    await at.follower.stop();
    await at.mirror.close();
    await at.database.drop();
  });
}

function createMirrorSteps(parts: Omit<MirrorSteps, "follower" | StepName>): MirrorSteps {
  const createFollower = () => {
    const { database, mirror, metrics } = at;
    const logger = createLogger({ level: process.env.TEST_LOG ?? "silent" });
    return new MirrorFollower(
      { pool: database.pool, mirror, metrics, logger },
      { intervalMs: 20, takeoverMs: 0, firstBackoffMs: 50 },
    );
  };
  const at: MirrorSteps = {
    ...parts,
    follower: undefined as never,
    createFollower,
    level: () => waitFor(() => assertLevel(at.database), { what: "the mirror to be level", timeoutMs: 30_000 }),
    async versions() {
      const rows = await at.database.query<{ user_id: string; file_id: string; version: number }>(
        "SELECT user_id, file_id, version FROM user_progress",
      );
      return {
        stored: Object.fromEntries(rows.map((row) => [pathOf(row.user_id, row.file_id), row.version])),
        mirrored: Object.fromEntries(
          Object.entries(at.firestore.documents(PROJECT)).map(([path, fields]) => [path, fields.version]),
        ),
      };
    },
    async expectEqual() {
      const { stored, mirrored } = await at.versions();
      expect(mirrored).toEqual(stored);
      return stored;
    },
  };
  at.follower = createFollower();
  return at;
}

/** @throws Error with the state of the mirror where it is not level */
async function assertLevel(database: TestDatabase): Promise<true> {
  const state = await loadState(database.pool);
  const lag = await readLag(database.pool);
  if (state.enabled && state.pass === null && lag.rows === 0) return true;
  const holding = await database.query(
    "SELECT pid, backend_type, application_name, state, wait_event, backend_xid::text, xact_start, left(query, 80) AS query FROM pg_stat_activity WHERE backend_xid IS NOT NULL OR (backend_xmin IS NOT NULL AND pid <> pg_backend_pid())",
  );
  throw new Error(JSON.stringify({ ...state, ...lag, horizon: await readHorizon(database.pool), holding }));
}
