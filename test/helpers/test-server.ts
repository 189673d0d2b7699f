import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { loadConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import type { CourseTree } from "../../src/protocol/course.ts";
import type { Role } from "../../src/protocol/roles.ts";
import { startServer } from "../../src/server.ts";
import type { TestDatabase } from "./database.ts";

/*
 * A server in the test's own process, one at a time: Socket.IO patches its adapter for the whole process. Where a test
 * may bring the server down, `startServerProcess` with `serverEnv` gives it a process of its own.
 */

const AUTH_SECRET = "a secret that only these tests know, 123";
export const tokens = createBuiltinTokens({ secret: AUTH_SECRET, ttlSeconds: 3600 });

/** A valid token of the test server. */
export async function mintToken(userId: string, role: Role = "learner", ttlSeconds?: number): Promise<string> {
  return (await tokens.mint({ userId, role }, ttlSeconds)).token;
}

/** What a server needs to know of a test's database, in this process or another. */
export function serverEnv(database: TestDatabase, env: Record<string, string> = {}): Record<string, string> {
  return { DATABASE_URL: database.url, AUTH_SECRET, PORT: "0", DEMO: "false", DRAIN_MS: "100", ...env };
}

export interface TestServer {
  url: string;
  /** Resolves with the number of heartbeats that could not be written. */
  stop(): Promise<number>;
}

/** Starts the whole server on a free port. */
export async function startTestServer(database: TestDatabase, env: Record<string, string> = {}): Promise<TestServer> {
  const config = loadConfig(serverEnv(database, { LOG_LEVEL: "error", ...env }));
  return startServer({ config, logger: createLogger({ level: config.LOG_LEVEL }) });
}

/** Puts a course as an admin. */
export async function putCourse(url: string, courseId: string, tree: CourseTree): Promise<void> {
  const response = await fetch(`${url}/v1/courses/${encodeURIComponent(courseId)}`, {
    method: "PUT",
    headers: { authorization: `Bearer ${await mintToken("root", "admin")}`, "content-type": "application/json" },
    body: JSON.stringify(tree),
  });
  if (!response.ok) throw new Error(`PUT of ${courseId}: ${response.status} ${await response.text()}`);
}

/** A figure of `/metrics`, summed over the label sets that contain `labels`; 0 where it was never counted. */
export async function readMetric(url: string, name: string, labels = ""): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return text
    .split("\n")
    .filter((line) => (line.startsWith(`${name}{`) || line.startsWith(`${name} `)) && line.includes(labels))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}
