import { afterAll, afterEach, beforeAll, expect } from "vitest";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { putCourse } from "./server-calls.ts";
import { serverEnv } from "./server-env.ts";
import { startServerProcess } from "./server-process.ts";
import {
  type Answer,
  type Client,
  type ConnectOptions,
  connect,
  connectRaw,
  connectRawTo,
  type Namespace,
  type RawClient,
} from "./socket-client.ts";
import { mintToken } from "./tokens.ts";

/*
 * For tests of bad input: a server with the default limits, in a process of its own so that a crash shows, and clients
 * that each test opens anew.
 */

export const LONG = "x".repeat(5000);
export const DEEP = "[".repeat(10_000) + "]".repeat(10_000);
/** A heartbeat that the server accepts. */
export const GOOD = { fileId: "f100", position: 10 };

const COURSE = {
  title: "Course",
  instructorId: "ines",
  lessons: [
    {
      id: "l1",
      title: "One",
      files: [
        { id: "f100", title: "100 s", durationSeconds: 100 },
        { id: "f1000", title: "1000 s", durationSeconds: 1000 },
      ],
    },
  ],
};

let lastUser = 0;

/** The id of a user that no other test has: its limits and its rows are its own. */
export function newUser(): string {
  lastUser += 1;
  return `user-${lastUser}`;
}

async function startBadInputServer() {
  const database: TestDatabase = await createTestDatabase();
  const server = await startServerProcess({ env: serverEnv(database) });
  const { url } = server;
  await putCourse(url, "c1", COURSE);
  const open: { close(): void }[] = [];
  const keep = <T extends { close(): void }>(client: T): T => {
    open.push(client);
    return client;
  };
  return {
    url,
    async player(userId: string, options?: ConnectOptions): Promise<Client> {
      return keep(await connect(url, "/player", await mintToken(userId), options));
    },
    async dashboard(userId: string, role: "learner" | "admin"): Promise<Client> {
      return keep(await connect(url, "/dashboard", await mintToken(userId, role)));
    },
    async raw(namespace: Namespace, userId = newUser()): Promise<RawClient> {
      return keep(await connectRawTo(url, namespace, await mintToken(userId)));
    },
    /** Opens a WebSocket that joins no namespace. */
    async socket(headers: Record<string, string>): Promise<RawClient> {
      return keep(await connectRaw(url, { headers }));
    },
    /** Posts to `/v1/heartbeats`. */
    async post(body: string, token?: string) {
      const authorization = token === undefined ? {} : { authorization: `Bearer ${token}` };
      const headers = { "content-type": "application/json", ...authorization };
      const response = await fetch(`${url}/v1/heartbeats`, { method: "POST", headers, body });
      return { status: response.status, headers: response.headers, body: await response.json() };
    },
    /** The stored progress of a user. */
    rowsOf(userId: string): Promise<unknown[]> {
      return database.query("select file_id, position_ms, watched::text from user_progress where user_id = $1", [
        userId,
      ]);
    },
    closeClients(): void {
      for (const client of open.splice(0)) client.close();
    },
    /** Stops the server, and fails where it crashed or logged an error: bad input is none. */
    async stop(): Promise<void> {
      const code = await server.stop();
      await database.drop();
      expect(code).toBe(0);
      // Level 50 is `error`, 60 is `fatal`.
      const lines = server.process.stderr().split("\n");
      expect(lines.filter((line) => /"level":[56]0/.test(line)).slice(0, 3)).toEqual([]);
    },
  };
}

export type BadInputServer = Awaited<ReturnType<typeof startBadInputServer>>;

/** Starts a server before the tests of a file, closes its clients after each test, and stops it after the last. */
export function useBadInputServer(onStarted: (server: BadInputServer) => void): void {
  let server: BadInputServer;
  beforeAll(async () => {
    server = await startBadInputServer();
    onStarted(server);
  });
  afterEach(() => server.closeClients());
  afterAll(() => server.stop());
}

/** Fails where the connection can no longer be used. */
export async function expectStillUsable(client: Client): Promise<void> {
  expect(await client.call("progress:get", { fileId: "f100" })).toMatchObject({ ok: true });
}

/** The error of a refusal. @throws Error where the call was not refused */
export function errorOf(answer: Answer | undefined) {
  if (answer === undefined || answer.ok) throw new Error(`expected a refusal, got ${JSON.stringify(answer)}`);
  return answer.error;
}
