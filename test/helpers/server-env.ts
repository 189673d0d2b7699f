import type { TestDatabase } from "./database.ts";

/** Signs the tokens of every server that a test starts. */
export const AUTH_SECRET = "a secret that only these tests know, 123";

/** What a server needs to know to run on a test's database, in this process or in another. */
export function serverEnv(database: TestDatabase, env: Record<string, string> = {}): Record<string, string> {
  return { DATABASE_URL: database.url, AUTH_SECRET, PORT: "0", DEMO: "false", DRAIN_MS: "100", ...env };
}
