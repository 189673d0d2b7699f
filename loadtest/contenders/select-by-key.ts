import { createHash } from "node:crypto";
import pg from "pg";
import { serveCommands } from "../harness/child-process.ts";
import { type LoadPlan, type LoadResult, OK, runLoad } from "../harness/load.ts";

/*
 * The most that any check of stream keys with one statement can reach: bare `pg` clients, each with one prepared SELECT by
 * primary key in flight.
 */

const clients: pg.Client[] = [];
let hashes: Buffer[] = [];
let next = 0;

export interface ConnectSelects {
  databaseUrl: string;
  connections: number;
  keys: string[];
}

async function connect(given: ConnectSelects): Promise<void> {
  hashes = given.keys.map((key) => createHash("sha256").update(key).digest());
  for (let i = 0; i < given.connections; i++) {
    const client = new pg.Client({ connectionString: given.databaseUrl });
    // A server that stops first ends the connection.
    client.on("error", () => undefined);
    await client.connect();
    clients.push(client);
  }
  const [first] = clients;
  await first?.query("CREATE TABLE select_streams (key_hash bytea PRIMARY KEY, id text NOT NULL)");
  await first?.query(
    "INSERT INTO select_streams SELECT hash, 'load-' || i FROM unnest($1::bytea[]) WITH ORDINALITY AS k (hash, i)",
    [hashes],
  );
  await first?.query("VACUUM (ANALYZE) select_streams");
}

function load(plan: LoadPlan): Promise<LoadResult> {
  return runLoad(plan, clients.length, (i, answered) => {
    const values = [hashes[next++ % hashes.length]];
    clients[i]?.query({ name: "find", text: "SELECT id FROM select_streams WHERE key_hash = $1", values }).then(
      () => answered(OK),
      (error: Error) => answered(error.message),
    );
  });
}

serveCommands({ connect, load });
