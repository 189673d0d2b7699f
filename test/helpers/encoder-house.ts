import { expect } from "vitest";
import type { CreateStream, Stream, StreamSession } from "../../src/protocol/stream.ts";
import { createTestDatabase } from "./database.ts";
import { type Encoder, type EncoderEnd, startEncoder } from "./encoder.ts";
import { startFlowServer } from "./flow-server.ts";
import { findFreePort } from "./free-port.ts";
import { startTestPostgres, type TestPostgres } from "./postgres.ts";
import { type Query, queryOf } from "./query.ts";
import type { ServerProcess } from "./server-process.ts";
import { createStreamsApi, type StreamsApi } from "./streams-api.ts";
import { mintToken } from "./tokens.ts";
import { waitFor } from "./wait-for.ts";
import { type WatchedStream, watchStream } from "./watched-stream.ts";

/*
 * A real media server, a Playhead and a database, for flows with real encoders. Tests of one house may run at the same
 * time: each has a scene of its own, with its own streams, encoders and dashboards.
 */

export interface HouseMedia {
  stop(): Promise<void>;
  /** Everything that the media server has printed or logged. */
  said(): string;
}

export interface HouseOptions<Media extends HouseMedia> {
  /** Starts the media server. Playhead listens, or will listen, on this port of 127.0.0.1. */
  startMedia(port: string): Promise<Media>;
  /** Where an encoder publishes a stream. */
  addressOf(media: Media, stream: { id: string; key: string }): string;
  /** How a refused encoder ends. */
  refused: Partial<Record<keyof EncoderEnd, unknown>>;
  env?: Record<string, string>;
  /** More of Playhead's environment, known once the media server runs. Then the media server starts first. */
  envOf?: (media: Media) => Record<string, string>;
  /** A PostgreSQL that the flows may kill; else a database of the run's own PostgreSQL. */
  ownPostgres?: boolean;
}

export interface SessionRow extends Pick<StreamSession, "state" | "connections" | "provisional"> {
  boot: string;
  connection: string;
}

export class EncoderHouse<Media extends HouseMedia> {
  readonly options: HouseOptions<Media>;
  readonly environment: Record<string, string>;
  readonly query: Query;
  readonly api: StreamsApi;
  media: Media;
  server: ServerProcess;
  readonly #postgres: TestPostgres | null;
  readonly #dropDatabase: () => Promise<void>;
  /** Every key that was made: none may stand in what the servers write. */
  readonly keys: string[] = [];

  constructor(
    given: Pick<EncoderHouse<Media>, "options" | "environment" | "query" | "api" | "media" | "server"> & {
      postgres: TestPostgres | null;
      dropDatabase: () => Promise<void>;
    },
  ) {
    this.options = given.options;
    this.environment = given.environment;
    this.query = given.query;
    this.api = given.api;
    this.media = given.media;
    this.server = given.server;
    this.#postgres = given.postgres;
    this.#dropDatabase = given.dropDatabase;
  }

  /** @throws Error where the house was opened without `ownPostgres` */
  get postgres(): TestPostgres {
    if (this.#postgres === null) throw new Error("this house shares the PostgreSQL of the run");
    return this.#postgres;
  }

  /** Starts Playhead on its port again. */
  async startServerAgain(env: Record<string, string> = {}): Promise<void> {
    this.server = await startFlowServer({ ...this.environment, ...env });
  }

  /** Runs the test in a scene of its own, which is closed afterwards. */
  async play(test: (scene: Scene<Media>) => Promise<void>): Promise<void> {
    const scene = new Scene(this);
    try {
      await test(scene);
    } finally {
      await scene.close();
    }
  }

  async close(): Promise<void> {
    const written = this.media.said() + this.server.process.stdout() + this.server.process.stderr();
    await this.media.stop();
    await this.server.kill();
    await this.#dropDatabase();
    expect(this.keys.filter((key) => written.includes(key))).toEqual([]);
  }
}

/** Starts the database, the media server and Playhead. */
export async function openEncoderHouse<Media extends HouseMedia>(
  options: HouseOptions<Media>,
): Promise<EncoderHouse<Media>> {
  const { ownPostgres = false, env = {}, envOf, startMedia } = options;
  const postgres = ownPostgres ? await startTestPostgres() : null;
  const database = postgres === null ? await createTestDatabase() : null;
  const url = (postgres ?? database)?.url as string;
  const port = await findFreePort();
  const early = envOf === undefined ? null : await startMedia(port);
  const environment: Record<string, string> = {
    PORT: port,
    DATABASE_URL: url,
    MAX_STREAMS_PER_USER: "1000",
    QUERY_TIMEOUT_MS: "1500",
    ...(early === null ? {} : envOf?.(early)),
    ...env,
  };
  const server = await startFlowServer(environment);
  return new EncoderHouse({
    options,
    environment,
    server,
    media: early ?? (await startMedia(port)),
    query: queryOf(url),
    api: createStreamsApi({ url: server.url, token: await mintToken("ines", "instructor") }),
    postgres,
    dropDatabase: async () => {
      await postgres?.stop();
      await database?.drop();
    },
  });
}

/** A stream, its key, and a dashboard that shows it. */
export interface StagedStream {
  id: string;
  key: string;
  dashboard: WatchedStream;
}

/** What one test does in a house. */
export class Scene<Media extends HouseMedia> {
  readonly house: EncoderHouse<Media>;
  readonly #encoders: Encoder[] = [];
  readonly #dashboards: WatchedStream[] = [];

  constructor(house: EncoderHouse<Media>) {
    this.house = house;
  }

  async makeStream(settings: Partial<CreateStream> = {}): Promise<StagedStream> {
    const { api, keys, server } = this.house;
    const { stream, streamKey } = await api.create(settings);
    keys.push(streamKey);
    const dashboard = await watchStream({ url: server.url, token: await mintToken("bob"), streamId: stream.id });
    this.#dashboards.push(dashboard);
    return { id: stream.id, key: streamKey, dashboard };
  }

  /** Starts an encoder; `behind` is added to its address. */
  publish(stream: { id: string; key: string }, behind = ""): Encoder {
    const { options, media } = this.house;
    return this.publishAt(options.addressOf(media, stream) + behind);
  }

  publishAt(address: string): Encoder {
    const encoder = startEncoder(address);
    this.#encoders.push(encoder);
    return encoder;
  }

  /** Starts an encoder, and waits until the stream is live and media flows. */
  async publishLive(stream: StagedStream): Promise<Encoder> {
    const encoder = this.publish(stream);
    await stream.dashboard.until("live");
    await encoder.sendsOn(300);
    return encoder;
  }

  async expectRefused(encoder: Encoder): Promise<void> {
    expect(await encoder.exited).toMatchObject(this.house.options.refused);
  }

  /** The encoder of a live stream ends by itself, and its session has ended. */
  async expectCut(encoder: Encoder, { id, dashboard }: StagedStream, status: Stream["status"]): Promise<void> {
    expect((await encoder.exited).code).toBeGreaterThan(0);
    await dashboard.until(status);
    expect(await this.sessionsOf({ id })).toMatchObject([{ state: "ended" }]);
  }

  sessionsOf({ id }: { id: string }): Promise<SessionRow[]> {
    return this.house.query<SessionRow>(
      "SELECT state, connections, provisional, boot, connection FROM stream_sessions WHERE stream_id = $1 ORDER BY id",
      [id],
    );
  }

  /** Waits until the media server has reported the live stream again. */
  async untilReported({ id }: { id: string }): Promise<void> {
    const before = await this.#readLease(id);
    try {
      await waitFor(async () => (await this.#readLease(id)) > before, { what: "a report", timeoutMs: 30_000 });
    } catch (error) {
      const ended = this.#encoders.filter((encoder) => !encoder.running());
      const ends = await Promise.all(ended.map(({ exited }) => exited));
      const known = { sessions: await this.sessionsOf({ id }), ends, media: this.house.media.said().slice(-2000) };
      throw new Error(`no report came: ${JSON.stringify(known)}`, { cause: error });
    }
  }

  /** Lets the time of a live stream's lease pass, while no Playhead runs that could see it. */
  async passLease({ id }: { id: string }): Promise<void> {
    await this.house.query(
      "UPDATE stream_sessions SET lease_until = clock_timestamp() - interval '1 s' WHERE stream_id = $1 AND state = 'live'",
      [id],
    );
  }

  async close(): Promise<void> {
    await Promise.all(this.#encoders.map((encoder) => encoder.kill()));
    for (const dashboard of this.#dashboards) dashboard.close();
  }

  async #readLease(streamId: string): Promise<number> {
    const [row] = await this.house.query<{ at: Date }>(
      "SELECT lease_until AS at FROM stream_sessions WHERE stream_id = $1 AND state = 'live'",
      [streamId],
    );
    return row?.at.getTime() ?? 0;
  }
}
