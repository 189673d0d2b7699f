import { once } from "node:events";
import { createServer } from "node:net";
import { loadAuthSecret } from "../auth/auth-secret.ts";
import type { Config } from "../config.ts";
import { migrate } from "../db/migrate.ts";
import { startDatabase } from "../db/open-database.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { Supervisor } from "./supervisor.ts";

export interface ServedWorkers {
  url: string;
  /** Drains all workers. @returns the highest of their exit codes */
  stop(): Promise<number>;
}

/**
 * Starts `WORKERS` workers, and before them everything that they share: the embedded PostgreSQL, the migrations, the
 * secret of tokens, the port.
 * @throws AppError `unavailable` if the port is taken, or the system cannot share one
 */
export async function serveWorkers(
  { config, logger }: { config: Config; logger: Logger },
  environment: Record<string, string | undefined>,
): Promise<ServedWorkers> {
  if (process.platform !== "linux") {
    throw new AppError("unavailable", "WORKERS needs Linux: only there can processes share a port. Leave it out.");
  }
  const cleanups: (() => Promise<unknown>)[] = [];
  const cleanUp = async () => {
    for (const clean of cleanups.reverse()) await clean();
  };
  try {
    const env = { ...environment, PORT: String(await findPort(config)) };
    const database = await startDatabase(config, logger);
    cleanups.push(() => database.stop());
    if (config.embedded) {
      // A worker does not know that its database is embedded, so it is told the defaults that depend on it.
      const AUTH_SECRET = await loadAuthSecret({ config, pool: null });
      Object.assign(env, { DATABASE_URL: database.url, AUTH_SECRET, DEMO: String(config.demo) });
    }
    await migrate({ connectionString: database.directUrl, logger });
    const supervisor = new Supervisor({
      workers: config.WORKERS,
      program: process.argv[1] as string,
      args: ["serve"],
      env,
      logger,
    });
    cleanups.push(() => supervisor.stop());
    const url = await supervisor.start();
    return {
      url,
      async stop() {
        const code = await supervisor.stop();
        await cleanUp();
        return code;
      },
    };
  } catch (error) {
    await cleanUp();
    throw error;
  }
}

/** The configured port, or a free one for 0. Looks first: workers would silently share a port that a stranger has. */
async function findPort({ HOST, PORT }: Config): Promise<number> {
  const probe = createServer();
  try {
    probe.listen({ host: HOST, port: PORT, exclusive: true });
    await once(probe, "listening");
    return (probe.address() as { port: number }).port;
  } catch (error) {
    throw new AppError(
      "unavailable",
      `Cannot listen on ${HOST}:${PORT}: another process has the port, or HOST is no address of this machine. Set PORT or HOST.`,
      { cause: error },
    );
  } finally {
    await new Promise((resolve) => probe.close(resolve));
  }
}
