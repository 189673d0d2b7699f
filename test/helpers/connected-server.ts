import { afterAll, afterEach, beforeAll } from "vitest";
import type { Role } from "../../src/protocol/roles.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { type Client, connect, type Namespace } from "./socket-client.ts";
import { startTestServer } from "./test-server.ts";
import { mintToken } from "./tokens.ts";

/** A server in this process, and clients that are closed after each test. */
export interface ConnectedServer {
  database: TestDatabase;
  url: string;
  join(namespace: Namespace, userId: string, role?: Role): Promise<Client>;
}

/** Starts a server on a database of its own before the tests of a file, and stops it after the last. */
export function useConnectedServer(onStarted: (server: ConnectedServer) => void): void {
  const open: Client[] = [];
  let stop: () => Promise<void>;
  beforeAll(async () => {
    const database = await createTestDatabase();
    const server = await startTestServer(database);
    stop = async () => {
      await server.stop();
      await database.drop();
    };
    onStarted({
      database,
      url: server.url,
      async join(namespace, userId, role) {
        const client = await connect(server.url, namespace, await mintToken(userId, role));
        open.push(client);
        return client;
      },
    });
  });
  afterEach(() => {
    for (const client of open.splice(0)) client.close();
  });
  afterAll(() => stop());
}
