import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createPool, type Pool } from "../db/pool.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { type Observation, toPendingBeat } from "./pending-beat.ts";
import { ProgressWriter } from "./progress-writer.ts";

/*
 * The plans of a batch are made once a connection, at a first start with empty tables, and kept while they grow.
 */

interface PlanNode {
  "Node Type": string;
  "Relation Name"?: string;
  "Index Cond"?: string;
  "TID Cond"?: string;
  Plans?: PlanNode[];
}

let database: TestDatabase;
let pool: Pool;
let writer: ProgressWriter;
const plans: PlanNode[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  await createCatalogueStore({ pool: database.pool }).put("c", {
    title: "Course",
    lessons: [
      { id: "l", title: "Lesson", files: ["f", "g"].map((id) => ({ id, title: id, durationSeconds: 100 })) },
      { id: "m", title: "Other", files: [{ id: "h", title: "h", durationSeconds: 100 }] },
    ],
  });
  const logger = createLogger({ level: "silent" });
  pool = createPool({
    connectionString: database.url,
    max: 1,
    queryTimeoutMs: 20_000,
    applicationName: "writer",
    logger,
  });
  pool.on("connect", (client) => {
    client.on("notice", ({ message = "" }) => {
      const json = message.slice(message.indexOf("{"));
      if (message.includes("plan:")) plans.push((JSON.parse(json) as { Plan: PlanNode }).Plan);
    });
  });
  await pool.query("LOAD 'auto_explain'");
  await pool.query(`SELECT set_config('auto_explain.log_min_duration', '0', false), set_config('client_min_messages', 'log', false),
    set_config('auto_explain.log_nested_statements', 'on', false), set_config('auto_explain.log_format', 'json', false)`);
  writer = new ProgressWriter({ pool, metrics: createMetrics(), logger });
});
afterAll(async () => {
  await pool.end();
  await database.drop();
});

async function write(...given: Partial<Observation>[]): Promise<void> {
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

function* nodesOf(node: PlanNode): Iterable<PlanNode> {
  yield node;
  for (const child of node.Plans ?? []) yield* nodesOf(child);
}

/** How each table was read, and by what of it. */
function takeScans(): string[] {
  const nodes = plans.splice(0).flatMap((plan) => [...nodesOf(plan)]);
  expect(nodes.map((node) => node["Node Type"]).filter((type) => /Hash Join|Merge Join/.test(type))).toEqual([]);
  const scans = nodes.filter((node) => /Scan$/.test(node["Node Type"]) && node["Relation Name"] !== undefined);
  const lookUps = scans.map((node) => {
    const condition = node["Index Cond"] ?? node["TID Cond"] ?? "";
    const columns = [...condition.matchAll(/\(?(\w+)\)? = /g)].map((match) => match[1]).sort();
    return `${node["Relation Name"]} ${node["Node Type"]} ${columns.join(",")}`;
  });
  return [...new Set(lookUps)].sort();
}

it("looks up every file, row and sum by its whole key, also where it was planned for empty tables", async () => {
  await database.query("ANALYZE");
  await write({ seq: 1, played: [[0, 1000]] }, { fileId: "g", seq: 1, session: "t" }, { fileId: "h", seq: 1 });
  expect(takeScans()).toEqual([
    "courses Index Scan id",
    // The references, beside the look-ups.
    "files Index Scan course_id,id,lesson_id",
    "files Index Scan id",
    "lesson_progress Index Scan lesson_id,user_id",
    "lesson_progress Tid Scan ctid",
    "lessons Index Scan course_id,id",
    "lessons Index Scan id",
    // One row: whether a mirror is on.
    "mirror Seq Scan ",
    "user_progress Index Scan file_id,user_id",
    "users Index Scan id",
  ]);
  // One goes on, one has another session, and one stays as it is.
  await write(
    { seq: 2, played: [[1000, 2000]] },
    { fileId: "g", seq: 1, session: "v" },
    { fileId: "h", seq: 1, observedAtMs: 0 },
  );
  expect(takeScans()).toEqual([
    "course_progress Index Scan course_id,user_id",
    "course_progress Tid Scan ctid",
    "courses Index Scan id",
    "lesson_progress Index Scan lesson_id,user_id",
    "lesson_progress Tid Scan ctid",
    "mirror Seq Scan ",
    "user_progress Index Scan id",
    "user_progress Tid Scan ctid",
  ]);
});
