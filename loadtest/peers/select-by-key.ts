import { createHash } from "node:crypto";
import pg from "pg";
import { Latencies } from "../harness/latency.ts";
import { serveCommands } from "../harness/worker.ts";

/*
 * The database's limit for a statement a check: bare `pg` clients, each with one prepared SELECT by primary key in
 * flight, and nothing else to do.
 */

const clients: pg.Client[] = [];
let hashes: Buffer[] = [];
let next = 0;

async function connect(given: { databaseUrl: string; connections: number; keys: string[] }): Promise<void> {
  hashes = given.keys.map((key) => createHash("sha256").update(key).digest());
  for (let i = 0; i < given.connections; i++) {
    const client = new pg.Client({ connectionString: given.databaseUrl });
    // The server may be stopped first.
    client.on("error", () => undefined);
    await client.connect();
    clients.push(client);
  }
  await clients[0]?.query("CREATE TABLE select_streams (key_hash bytea PRIMARY KEY, id text NOT NULL)");
  await clients[0]?.query(
    "INSERT INTO select_streams SELECT hash, 'load-' || i FROM unnest($1::bytea[]) WITH ORDINALITY AS k (hash, i)",
    [hashes],
  );
  await clients[0]?.query("VACUUM (ANALYZE) select_streams");
}

async function load({ seconds }: { seconds: number }) {
  const latencies = new Latencies();
  const cpu = process.cpuUsage();
  const until = performance.now() + seconds * 1000;
  let answered = 0;
  await Promise.all(
    clients.map(async (client) => {
      for (let sentAt = performance.now(); sentAt < until; ) {
        const hash = hashes[next++ % hashes.length];
        await client.query({ name: "find", text: "SELECT id FROM select_streams WHERE key_hash = $1", values: [hash] });
        const now = performance.now();
        latencies.add(now - sentAt);
        answered += 1;
        sentAt = now;
      }
    }),
  );
  const { user, system } = process.cpuUsage(cpu);
  return { answered, seconds, latencies: latencies.encode(), outcomes: {}, cpuSeconds: (user + system) / 1e6 };
}

serveCommands({ connect, load });
