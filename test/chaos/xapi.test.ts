import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { type RecordStoreStandIn, startRecordStore } from "../helpers/record-store-stand-in.ts";
import { putCourse } from "../helpers/server-calls.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";
import { type AnyStatement, extensionOf, verbOf } from "../helpers/xapi-rules.ts";

/*
 * A learning record store that is away, then slow, then right, and that never takes one of the statements, while the server is
 * killed. Every other statement arrives once, in the order of its learner, and obeys the Video Profile.
 */

const LEARNERS = 60;
const SLOW_MS = 500;
const BAD = "learner-25";

let database: TestDatabase;
let lrs: RecordStoreStandIn;
let server: ServerProcess;

beforeAll(async () => {
  database = await createTestDatabase();
  lrs = await startRecordStore();
  server = await start();
  const files = ["f", "g"].map((id) => ({ id, title: id.toUpperCase(), durationSeconds: 5 }));
  await putCourse(server.url, "c", { title: "C", lessons: [{ id: "l", title: "L", files }] });
});
afterAll(async () => {
  await server.kill();
  await lrs.close();
  await database.drop();
});

function start(): Promise<ServerProcess> {
  return startFlowServer({ DATABASE_URL: database.url, LRS_URL: lrs.endpoint, LRS_AUTH: lrs.auth });
}

async function watch(from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) {
    const beats = ["f", "g"].map((fileId) => ({ fileId, position: 5, played: [[0, 5]], sessionId: `s${i}` }));
    const body = JSON.stringify({ beats, token: await mintToken(`learner-${i}`) });
    const response = await fetch(`${server.url}/v1/heartbeats`, { method: "POST", body });
    const { results } = (await response.json()) as { results: { ok: boolean }[] };
    expect(results.map(({ ok }) => ok)).toEqual([true, true]);
  }
}

/** Lets the last heartbeats have been written so long ago that every session has ended. */
const waitForTheEnd = () => database.query("UPDATE user_progress SET beat_at = beat_at - interval '5 min'");
const isBad = (statement: AnyStatement) =>
  statement.actor.account.name === BAD && verbOf(statement) === "completed" && statement.object.id.endsWith("/g");

async function get(path: string): Promise<AnyStatement> {
  const token = await mintToken("root", "admin");
  const response = await fetch(server.url + path, { headers: { authorization: `Bearer ${token}` } });
  expect(response.status).toBe(200);
  return response.json();
}

/** Every statement that the server has, page by page. */
async function readAll(): Promise<AnyStatement[]> {
  const all: AnyStatement[] = [];
  for (let more = "/v1/xapi/statements?ascending=true&limit=70"; more !== ""; ) {
    const page = await get(more);
    all.push(...page.statements);
    more = page.more;
  }
  return all;
}

it("brings every statement to the record store once, over a kill of the server", async () => {
  lrs.answer = (statements) => (statements.some(isBad) ? 400 : null);
  await watch(0, 20);
  await waitFor(() => lrs.taken.length >= 10, { what: "the first statements" });
  await lrs.close();
  await watch(20, 40);
  await waitForTheEnd();
  lrs.delayMs = SLOW_MS;
  await lrs.open();
  const seen = lrs.posts.length;
  await waitFor(() => lrs.posts.length > seen, { what: "a request to the slow store", timeoutMs: 60_000 });
  // The store has the request, and the server has not noted what became of it.
  await server.kill();
  server = await start();
  await watch(40, LEARNERS);
  await waitForTheEnd();
  lrs.delayMs = 0;

  const count = LEARNERS * 2 * 4;
  const isAll = async () =>
    (await readAll()).length === count && (await database.query("SELECT FROM xapi_queue")).length === 1;
  await waitFor(isAll, { what: "all sessions to end, and all statements to be taken", timeoutMs: 120_000 });
  expect(lrs.problems()).toEqual([]);
  expect(lrs.taken).toHaveLength(count - 1);
  expect((await get("/v1/xapi/refused")).refused.map(({ statement }: AnyStatement) => isBad(statement))).toEqual([
    true,
  ]);

  // As the server lists them, and in the order of each learner.
  const listed = (await readAll()).filter((statement) => !isBad(statement));
  const idsOf = (statements: AnyStatement[], name: string) =>
    statements.filter(({ actor }) => actor.account.name === name).map(({ id }) => id);
  for (let i = 0; i < LEARNERS; i++) expect(idsOf(lrs.taken, `learner-${i}`)).toEqual(idsOf(listed, `learner-${i}`));
  const byId = new Map(lrs.taken.map((statement) => [statement.id, statement]));
  for (const { stored: _, ...statement } of listed) expect(byId.get(statement.id)).toEqual(statement);
  const completed = lrs.taken.filter((statement) => verbOf(statement) === "completed");
  expect(completed.every((statement) => extensionOf(statement, "result", "progress") >= 0.9)).toBe(true);
});
