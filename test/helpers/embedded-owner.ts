import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { startEmbeddedPostgres } from "../../src/db/embedded/embedded-postgres.ts";
import { createLogger } from "../../src/logger.ts";

/*
 * A process that owns an embedded PostgreSQL, as the server does. It prints the URL; at SIGTERM or SIGINT it writes a
 * row and then stops PostgreSQL. Usage: embedded-owner.ts <data folder>
 */

const dataDir = process.argv[2] as string;
try {
  const postgres = await startEmbeddedPostgres({ dataDir, logger: createLogger({ level: "silent" }) });
  const client = new pg.Client({ connectionString: postgres.url });
  await client.connect();
  await client.query("create table if not exists note (text text)");
  const finish = async (signal: string) => {
    // Long enough that a PostgreSQL that got the signal too would have ended by then.
    await delay(300);
    await client.query("insert into note values ($1)", [signal]);
    await client.end();
    await postgres.stop();
    process.exit(0);
  };
  process.once("SIGTERM", (signal) => void finish(signal));
  process.once("SIGINT", (signal) => void finish(signal));
  process.stdout.write(`ready ${JSON.stringify({ url: postgres.url, pid: postgres.pid })}\n`);
} catch (error) {
  process.stderr.write(`${(error as Error).message}\n`);
  process.exit(1);
}
