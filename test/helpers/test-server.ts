import { loadConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import { startServer } from "../../src/server.ts";
import type { TestDatabase } from "./database.ts";
import { serverEnv } from "./server-env.ts";

/*
 * A server in the test's own process. Only one at a time: Socket.IO patches its adapter for the whole process. A test
 * that may bring the server down gives it a process of its own by `startServerProcess`.
 */

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
