import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { removeDataFolder } from "../helpers/data-folder.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { startTestFirestore, type TestFirestore } from "../helpers/firestore.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer } from "../helpers/flow-server.ts";
import { queryOf } from "../helpers/query.ts";
import { recount } from "../helpers/recount.ts";
import { runPlayhead } from "../helpers/run-playhead.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The mirror as an operator meets it: one of two servers is killed; then the database is lost, and a command brings
 * everything back from Firestore.
 */

const PROJECT = "mirror-flow";
const LEARNERS = Array.from({ length: 30 }, (_, i) => `learner-${i}`);

let folder: string;
let database: TestDatabase;
let firestore: TestFirestore;
let env: Record<string, string>;

beforeAll(async () => {
  folder = await makeTemporaryFolder();
  database = await createTestDatabase();
  firestore = await startTestFirestore();
  env = {
    DATABASE_URL: database.url,
    FIREBASE_PROJECT_ID: PROJECT,
    FIRESTORE_MIRROR: "true",
    FIRESTORE_MIRROR_INTERVAL_MS: "200",
  };
});
afterAll(async () => {
  await firestore.stop();
  await database.drop();
  await removeDataFolder(folder);
});

async function beat(url: string, userId: string, position: number): Promise<void> {
  const beats = FILE_IDS.map((fileId) => ({ fileId, position, played: [[position - 1, position]] }));
  const response = await fetch(`${url}/v1/heartbeats`, {
    method: "POST",
    signal: AbortSignal.timeout(30_000),
    headers: { authorization: `Bearer ${await mintToken(userId)}`, "content-type": "application/json" },
    body: JSON.stringify({ beats }),
  });
  expect(await response.json()).toMatchObject({ ok: true, results: FILE_IDS.map(() => ({ ok: true })) });
}

/** The versions of all documents and of all rows, by the paths of the documents. */
async function compare(): Promise<{ mirrored: Record<string, unknown>; stored: Record<string, unknown> }> {
  const rows = await database.query<{ path: string; version: number }>(
    "SELECT 'users/' || user_id || '/progress/' || file_id AS path, version FROM user_progress",
  );
  const documents = Object.entries(firestore.documents(PROJECT));
  return {
    mirrored: Object.fromEntries(documents.map(([path, { version }]) => [path, version])),
    stored: Object.fromEntries(rows.map(({ path, version }) => [path, version])),
  };
}

async function waitUntilMirrored(what: string): Promise<void> {
  let last: Awaited<ReturnType<typeof compare>> | undefined;
  await waitFor(
    async () => {
      last = await compare();
      expect(last.mirrored).toEqual(last.stored);
      return true;
    },
    { what, timeoutMs: 40_000 },
  );
  expect(Object.keys(last?.stored ?? {})).toHaveLength(LEARNERS.length * FILE_IDS.length);
}

/** The server that keeps the mirror up to date. */
async function findFollower(servers: ServerProcess[]): Promise<ServerProcess> {
  return waitFor(
    async () => {
      for (const server of servers) {
        const figures = await (await fetch(`${server.url}/metrics`)).text();
        if (/^playhead_mirror_active 1$/m.test(figures)) return server;
      }
      return null;
    },
    { what: "one of the servers to follow" },
  );
}

function run(...args: string[]) {
  return runPlayhead(["backup", ...args], { cwd: folder, env: { ...env, LOG_LEVEL: "error" } });
}

describe("the mirror in Firestore", () => {
  it("goes on when the server that updates it is killed, and gives back a lost database", async () => {
    const servers = await Promise.all([startFlowServer(env), startFlowServer(env)]);
    const [first] = servers;
    await putLoadCourse(first.url);
    await Promise.all(LEARNERS.map((userId) => beat(first.url, userId, 10)));
    const follower = await findFollower(servers);
    await waitUntilMirrored("the first beats to be mirrored");

    const other = servers.find((server) => server !== follower) as ServerProcess;
    await Promise.all([...LEARNERS.map((userId) => beat(other.url, userId, 11)), follower.kill()]);
    await findFollower([other]);
    await Promise.all(LEARNERS.map((userId) => beat(other.url, userId, 12)));
    await waitUntilMirrored("the other server to take over");
    const level = "SELECT FROM mirror WHERE pass IS NULL AND NOT EXISTS (SELECT FROM progress_journal)";
    await waitFor(async () => (await database.query(level)).length > 0, { what: "the mirror to be level" });
    expect(await other.stop()).toBe(0);

    const status = await run("status", "--json");
    expect(JSON.parse(status.stdout)).toMatchObject({
      enabled: true,
      isSameDatabase: true,
      journalRows: 0,
      pass: null,
    });
    expect((await run("restore")).stderr).toMatch(/has progress.*--force/);

    // The database is lost. A new one has only the catalogue.
    const lost = database;
    const wanted = await rowsOf(lost);
    database = await createTestDatabase();
    env.DATABASE_URL = database.url;
    try {
      const server = await startFlowServer(env);
      await putLoadCourse(server.url);
      // Until the restore, the server reads progress from the mirror.
      const read = async (path: string) =>
        (
          await fetch(`${server.url}/v1/progress/${path}`, {
            headers: { authorization: `Bearer ${await mintToken("learner-3")}` },
          })
        ).json();
      expect(await read(`files/${FILE_IDS[0]}`)).toMatchObject({ position: 12, watchedSeconds: 3 });
      expect(await read(`courses/${COURSE_ID}`)).toMatchObject({ watchedDuration: 9, completedFiles: 0 });
      expect(await server.stop()).toBe(0);
      expect((await run("status")).stdout).toMatch(/mirror (on, held|off)/);
      const restored = await run("restore");
      expect(restored).toMatchObject({ code: 0, stdout: `restored 90 of 90 rows; 0 were there already\n` });
      expect(await rowsOf(database)).toEqual(wanted);
      const { recounted, stored } = await recount(database);
      expect(stored).toEqual(recounted);
      expect(Object.keys(stored)).toHaveLength(LEARNERS.length * 3);

      await database.query("DELETE FROM users WHERE id = 'learner-0'");
      await database.query("UPDATE mirror SET enabled = false");
      expect(await run("replay", "--delete-unknown")).toMatchObject({ code: 0 });
      expect(Object.keys((await compare()).mirrored)).toHaveLength((LEARNERS.length - 1) * FILE_IDS.length);
      expect((await run("off")).stdout).toBe("The mirror is off\n");
      expect((await run("status")).stdout).toMatch(/^mirror off$/m);
    } finally {
      await lost.drop();
    }
  });

  it("names the setting that is missing, and explains its commands", async () => {
    const without = await runPlayhead(["backup", "replay"], { cwd: folder, env: { DATABASE_URL: database.url } });
    expect(without).toMatchObject({ code: 1, stdout: "" });
    expect(without.stderr).toContain("FIREBASE_PROJECT_ID");
    const wrong = await runPlayhead(["backup", "status"], { cwd: folder, env: { ...env, FIREBASE_PROJECT_ID: "" } });
    expect(wrong.stderr).toMatch(/FIRESTORE_MIRROR: .*FIREBASE_PROJECT_ID/);
    expect((await run("--help")).stdout).toMatch(/status[\s\S]*replay[\s\S]*restore[\s\S]*off/);
  });
});

/** Every row of progress as text, except its id. */
async function rowsOf({ url }: TestDatabase): Promise<string[]> {
  const rows = await queryOf(url)<{ row: string }>(
    "SELECT (to_jsonb(p) - 'id')::text AS row FROM user_progress AS p ORDER BY user_id, file_id",
  );
  return rows.map(({ row }) => row);
}
