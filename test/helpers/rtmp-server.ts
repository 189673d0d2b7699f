import { afterAll, afterEach, beforeAll, expect } from "vitest";
import type { Update } from "../../src/protocol/dashboard.ts";
import type { CreateStream } from "../../src/protocol/stream.ts";
import { createTestDatabase, type TestDatabase } from "./database.ts";
import { connectMediaServer, type MediaServer, type MediaServerAuth } from "./media-server.ts";
import { type Client, connect } from "./socket-client.ts";
import { createStreamSteps } from "./stream-sessions.ts";
import { createStreamsApi } from "./streams-api.ts";
import { startTestServer, type TestServer } from "./test-server.ts";
import { mintToken } from "./tokens.ts";

/*
 * For tests of media servers over real sockets: a server with short deadlines, and the clients of each test.
 */

/** Each of them lets a media server in. */
export const SECRETS = ["the-first-secret", "the-second-secret"] as const;
export const RTMP_ENVIRONMENT = {
  RTMP_SECRETS: SECRETS.join(),
  STREAM_LEASE_SECONDS: "2",
  STREAM_RECONNECT_SECONDS: "1",
  MAX_STREAMS_PER_USER: "1000",
};

/** A dashboard that remembers what it was shown of a topic. */
export interface StreamDashboard extends Client {
  statuses(): string[];
  versions(): number[];
}

async function startRtmpServer() {
  const database: TestDatabase = await createTestDatabase();
  const server: TestServer = await startTestServer(database, RTMP_ENVIRONMENT);
  const open: { close(): void }[] = [];
  const keep = <T extends { close(): void }>(client: T): T => {
    open.push(client);
    return client;
  };
  const streams = createStreamsApi({ url: server.url, token: await mintToken("ines", "instructor") });
  let lastServer = 0;
  return {
    database,
    url: server.url,
    streams,
    keep,

    /** A media server that no other test knows, unless it is named. */
    async media(auth: MediaServerAuth = {}, url = server.url): Promise<MediaServer> {
      lastServer += 1;
      const named = { secret: SECRETS[0], server: `edge-${lastServer}`, boot: "b1", ...auth };
      return keep(await connectMediaServer(url, named));
    },

    async newStream(settings: Partial<CreateStream> = {}): Promise<{ id: string; key: string }> {
      const { stream, streamKey } = await streams.create(settings);
      return { id: stream.id, key: streamKey };
    },

    async dashboard(topic: string): Promise<StreamDashboard> {
      const client = keep(await connect(server.url, "/dashboard", await mintToken("lena")));
      const answer = await client.call("subscribe", { topic });
      if (!answer.ok) throw new Error(answer.error.message);
      const id = topic.slice("stream:".length);
      const shown = () =>
        [answer.snapshot, ...client.heard<Update>("update")]
          .filter((update) => update.topic === topic)
          .flatMap((update) => update.streams ?? [])
          .filter((stream) => topic === "streams" || stream.id === id);
      return {
        ...client,
        statuses: () =>
          shown()
            .map(({ status }) => status)
            .filter((status, i, all) => status !== all[i - 1]),
        versions: () => shown().map(({ version }) => version),
      };
    },

    /** What is stored of the stream and its sessions. */
    rows: (streamId: string) =>
      database.query(
        "SELECT s.status, s.version, e.claim, e.state, e.lease_until FROM streams s LEFT JOIN stream_sessions e ON e.stream_id = s.id WHERE s.id = $1",
        [streamId],
      ),

    /** Closes the clients of a test. Fails where streams and sessions disagree afterwards. */
    async settle(): Promise<void> {
      for (const client of open.splice(0)) client.close();
      const steps = createStreamSteps(database);
      // A lease that has just been lost changes the stream a moment later.
      await expect.poll(() => steps.findDisagreements(), { timeout: 10_000 }).toEqual([]);
    },

    async stop(): Promise<void> {
      await server.stop();
      await database.drop();
    },
  };
}

export type RtmpServer = Awaited<ReturnType<typeof startRtmpServer>>;

/** Starts a server before the tests of a file, closes its clients after each test, and stops it after the last. */
export function useRtmpServer(onStarted: (server: RtmpServer) => void): void {
  let server: RtmpServer;
  beforeAll(async () => {
    server = await startRtmpServer();
    onStarted(server);
  });
  afterEach(() => server.settle());
  afterAll(() => server.stop());
}
