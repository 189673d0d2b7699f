import { once } from "node:events";
import { createServer } from "node:net";
import { loadAuthSecret } from "../auth/auth-secret.ts";
import type { Config } from "../config.ts";
import { startEmbeddedPostgres } from "../db/embedded/embedded-postgres.ts";
import { migrate } from "../db/migrate.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { Supervisor } from "./supervisor.ts";

export interface ServedWorkers {
  url: string;
  /** Drains all workers. @returns the worst of their exit codes */
  stop(): Promise<number>;
}

/**
 * Starts `WORKERS` workers, and what they share: the embedded PostgreSQL, the migrations, the secret of tokens, a port.
 * @throws AppError `unavailable` where the port is taken, or the system cannot share one
 */
export async function serveWorkers(
  { config, logger }: { config: Config; logger: Logger },
  environment: Record<string, string | undefined>,
): Promise<ServedWorkers> {
  if (process.platform !== "linux") {
    throw new AppError("unavailable", "WORKERS takes Linux: only there do processes share a port. Leave it out.");
  }
  const cleanups: (() => Promise<unknown>)[] = [];
  const cleanUp = async () => {
    for (const clean of cleanups.reverse()) await clean();
  };
  try {
    const env = { ...environment, PORT: String(await findPort(config)) };
    if (config.embedded) {
      const postgres = await startEmbeddedPostgres({ dataDir: config.PLAYHEAD_DATA_DIR, logger });
      cleanups.push(() => postgres.stop());
      // To a worker it is a database like any other: what goes without saying with an embedded one is said.
      const AUTH_SECRET = await loadAuthSecret({ config, pool: null });
      Object.assign(env, { DATABASE_URL: postgres.url, AUTH_SECRET, DEMO: String(config.demo) });
      await migrate({ connectionString: postgres.url, logger });
    } else await migrate({ connectionString: config.LISTEN_DATABASE_URL ?? (config.DATABASE_URL as string), logger });
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

/** The configured port if nobody has it, or a free one: workers would share it with a stranger without a word. */
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
