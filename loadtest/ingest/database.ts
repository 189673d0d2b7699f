import pg from "pg";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { INSTRUCTOR_ID, makeCourseTree, toCourseId } from "../load/catalogue.ts";
import type { PlayheadServer } from "../load/playhead-server.ts";

type Shape = { courses: number; files: number };

/** What the load left behind. */
export interface After {
  deadlocks: number;
  /** Claims that the budget of watching cut, in ms. */
  budgetCutMs: number;
  /** Lessons and courses whose stored sums differ from a recount. */
  wrongAggregates: number;
}

/** The courses that are watched, as an instructor puts them. */
export async function putCourses(server: PlayheadServer, { courses, files }: Shape): Promise<void> {
  const tokens = createBuiltinTokens({ secret: server.secret, ttlSeconds: 3600 });
  const { token } = await tokens.mint({ userId: INSTRUCTOR_ID, role: "instructor" });
  for (let course = 0; course < courses; course++) {
    const response = await fetch(`${server.url}/v1/courses/${toCourseId(course)}`, {
      method: "PUT",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(makeCourseTree(course, files)),
    });
    if (!response.ok) throw new Error(`the course was refused: ${response.status} ${await response.text()}`);
  }
}

/** Whether all of it left the database right. */
export async function readAfter(server: PlayheadServer, { courses }: Shape): Promise<After> {
  return await withClient(server.databaseUrl, async (client) => {
    const { rows } = await client.query<{ deadlocks: string }>(
      "SELECT sum(deadlocks) AS deadlocks FROM pg_stat_database",
    );
    let wrongAggregates = 0;
    for (let course = 0; course < courses; course++) {
      wrongAggregates +=
        (await client.query("SELECT FROM playhead_check_course($1)", [toCourseId(course)])).rowCount ?? 0;
    }
    const budgetCutMs = (await server.readMetrics()).get("playhead_budget_cut_ms_total") ?? 0;
    return { deadlocks: Number(rows[0]?.deadlocks), budgetCutMs, wrongAggregates };
  });
}

/** An empty database beside another; returns its address. */
export async function createDatabase(url: string, name: string): Promise<string> {
  await withClient(url, (client) => client.query(`CREATE DATABASE ${name}`));
  return url.replace(/[^/]+$/, name);
}

/** With whoever is still connected to it. */
export async function dropDatabase(url: string, name: string): Promise<void> {
  await withClient(url, (client) => client.query(`DROP DATABASE ${name} WITH (FORCE)`));
}

async function withClient<T>(url: string, use: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await use(client);
  } finally {
    await client.end();
  }
}
