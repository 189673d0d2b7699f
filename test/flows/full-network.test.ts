import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { connectRaw, type RawClient } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * A network that holds as many connections without a user as it may. They are media servers' here: those stay, while any
 * other connection without a user is ended after 5 s, maybe before a slow machine has opened enough of them.
 */

const MOST = 2000;
const AT_ONCE = 100;
const SECRET = "only-these-flows-know-it";
const NETWORK = "192.0.2.1";

let database: TestDatabase;
let server: ServerProcess;
const open: RawClient[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServerProcess({ env: serverEnv(database, { RTMP_SECRETS: SECRET, TRUST_PROXY: "true" }) });
});
afterAll(async () => {
  for (const client of open) client.close();
  expect(await server.stop()).toBe(0);
  await database.drop();
});

/** Connects through a proxy that says this address. */
async function connectFrom(address: string): Promise<RawClient> {
  const client = await connectRaw(server.url, { headers: { "x-forwarded-for": address } });
  open.push(client);
  return client;
}

async function join(client: RawClient, packet: string): Promise<void> {
  client.send(packet);
  const frame = await client.hear((text) => text.startsWith("4"));
  if (!frame.startsWith("40")) throw new Error(`the handshake was refused: ${frame}`);
}

it("gets no more of them, until one has a user or ends; other networks are let in all the time", async () => {
  for (let i = 0; i < MOST; i += AT_ONCE) {
    const clients = await Promise.all(Array.from({ length: AT_ONCE }, () => connectFrom(NETWORK)));
    await Promise.all(clients.map((client) => join(client, `40/rtmp,${JSON.stringify({ secret: SECRET })}`)));
  }
  await expect(connectFrom(NETWORK)).rejects.toThrow("403");
  await expect(connectFrom(`::ffff:${NETWORK}`)).rejects.toThrow("403");
  expect(await readMetric(server.url, "playhead_connections_refused_total", `reason="network"`)).toBe(2);
  const other = await connectFrom("192.0.2.2");
  await join(other, `40/player,${JSON.stringify({ token: await mintToken("alice") })}`);

  const [leaver] = open;
  leaver?.close();
  const player = await waitFor(() => connectFrom(NETWORK).catch(() => undefined), { what: "a place to be free" });
  await expect(connectFrom(NETWORK)).rejects.toThrow("403");
  await join(player, `40/player,${JSON.stringify({ token: await mintToken("bob") })}`);
  // The player has a user now, and its place is free.
  await connectFrom(NETWORK);
});
