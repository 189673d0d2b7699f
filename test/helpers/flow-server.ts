import { once } from "node:events";
import { createServer } from "node:net";
import pg from "pg";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { TYPES } from "../../src/db/pool.ts";
import type { Role } from "../../src/protocol/roles.ts";
import type { Query } from "./oracle.ts";
import { type ServerProcess, startServerProcess } from "./server-process.ts";

/*
 * What the flows that end processes share: one secret, one course, a port that a server comes back to.
 */

const SECRET = "a secret that only these flows know, and long enough";
const tokens = createBuiltinTokens({ secret: SECRET, ttlSeconds: 3600 });

export const COURSE_ID = "under-load";
export const FILE_IDS = ["file-1", "file-2", "file-3"];
/** Long enough for a window of the media for every player. */
const DURATION_SECONDS = 2_100_000;

/** One line of the server's log would be an error; waiting for the database is a warning. */
const ENVIRONMENT = {
  AUTH_SECRET: SECRET,
  DEMO: "false",
  DATABASE_URL: undefined,
  LOG_LEVEL: "error",
  // Several players of one user call more often than people do.
  RATE_LIMIT_BURST: "100000",
  RATE_LIMIT_PER_SECOND: "100000",
};

export async function mintToken(userId: string, role: Role = "learner"): Promise<string> {
  return (await tokens.mint({ userId, role })).token;
}

export type FlowEnvironment = Record<string, string | undefined>;

/** Starts a server in a process of its own, whose tokens `mintToken` mints. */
export function startFlowServer(env: FlowEnvironment, options: { detached?: boolean } = {}): Promise<ServerProcess> {
  return startServerProcess({ ...options, env: { ...ENVIRONMENT, ...env } });
}

/** Puts the course that players play. */
export async function putCourse(url: string, token?: string): Promise<void> {
  const response = await fetch(`${url}/v1/courses/${COURSE_ID}`, {
    method: "PUT",
    signal: AbortSignal.timeout(30_000),
    headers: {
      authorization: `Bearer ${token ?? (await mintToken("root", "admin"))}`,
      "content-type": "application/json",
    },
    body: JSON.stringify({
      title: "Under load",
      lessons: [
        { id: "lesson-1", title: "One", files: FILE_IDS.slice(0, 2).map(toFile) },
        { id: "lesson-2", title: "Two", files: FILE_IDS.slice(2).map(toFile) },
      ],
    }),
  });
  if (!response.ok) throw new Error(`the course was not put: ${response.status} ${await response.text()}`);
}

function toFile(id: string) {
  return { id, title: id, durationSeconds: DURATION_SECONDS };
}

export function users(count: number): string[] {
  return Array.from({ length: count }, (_, i) => `learner-${i}`);
}

/** Runs each query on a connection of its own: the database may have been away in between. */
export function queryOf(url: string): Query {
  return async <Row extends object>(sql: string, params: unknown[] = []) => {
    const client = new pg.Client({ connectionString: url, types: TYPES });
    client.on("error", () => {
      // The query under way fails with it.
    });
    await client.connect();
    try {
      return (await client.query<Row & pg.QueryResultRow>(sql, params)).rows;
    } finally {
      await client.end();
    }
  };
}

/** A port that is free now, for a server that is to come back to it. */
export async function findFreePort(): Promise<string> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, "close");
  return String(port);
}
