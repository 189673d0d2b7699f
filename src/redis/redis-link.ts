import { EventEmitter } from "node:events";
import { Cluster, Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import { withinTime } from "../within-time.ts";

/*
 * The two connections to Redis that pub/sub takes, to one server or to a cluster, where channels are sharded. What is
 * not on its way within a second is given up: a message that comes late is worse than one that is lost and known to be.
 *
 *   away ──▶ near ──(closed, silent)──▶ away …      stop() ends it from anywhere
 *
 * The link proves itself: every second it sends itself messages, in a cluster by many channels, so that every shard
 * carries some; where one is not heard for three seconds it is taken down and set up anew, whatever TCP believes.
 */

const PROOF_INTERVAL_MS = 1000;
const SILENCE_MS = 3000;
const COMMAND_TIMEOUT_MS = 1000;
/** A cluster's client may wait for ever for a node that stands still. */
const START_TIMEOUT_MS = 4000;
/** Of a cluster's proof channels; that a shard carries none of them is unlikely up to a handful of shards. */
const CLUSTER_PROOFS = 24;
const MAX_RECONNECT_MS = 1000;

/** Messages that go out together. */
export type Outgoing = readonly (readonly [channel: string, text: string])[];

interface LinkEvents {
  message: [channel: string, text: string];
  /** It can be relied on again; what was sent meanwhile is lost. */
  near: [];
  away: [];
}

export interface RedisLinkOptions {
  /** One URL, or several of one cluster. */
  urls: readonly string[];
  /** Before every channel's name: several installations may share a Redis. */
  prefix: string;
  /** This process, by a name that no other has. */
  node: string;
}

export class RedisLink extends EventEmitter<LinkEvents> {
  readonly #options: RedisLinkOptions;
  readonly #logger: Logger;
  #connections: Connections | null = null;
  /** Channels that are wanted, subscribed to or not. */
  readonly #wanted = new Map<string, Promise<void>>();
  #isNear = false;
  /** When each proof channel was heard last. */
  readonly #heardAt = new Map<string, number>();
  #proof: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(options: RedisLinkOptions, { logger }: { logger: Logger }) {
    super();
    this.#options = options;
    this.#logger = logger;
  }

  get isNear(): boolean {
    return this.#isNear;
  }

  /** The connection that takes commands; null while Redis is away. */
  get commands(): Redis | Cluster | null {
    return this.#isNear ? (this.#connections?.commands ?? null) : null;
  }

  /** Never rejects: where Redis is away it is tried again. */
  async start(): Promise<void> {
    if (this.#isStopped) return;
    const { urls, node } = this.#options;
    try {
      const connections = await inTime(connect(urls, this.#logger), (late) => late.close());
      if (this.#isStopped) {
        connections.close();
        return;
      }
      this.#connections = connections;
      connections.onMessage((channel, text) => this.#hear(channel, text));
      connections.onEnd(() => this.#restart(connections, "a connection ended"));
      this.#heardAt.clear();
      for (let i = 0; i < connections.proofs; i += 1)
        this.#heardAt.set(this.#full(`proof:${node}:${i}`), performance.now());
      await this.#subscribeAll(connections);
      this.#proof = setInterval(() => this.#prove(connections), PROOF_INTERVAL_MS).unref();
      this.#isNear = true;
      this.#logger.info({ node }, "Redis is there");
      this.emit("near");
    } catch (error) {
      this.#logger.debug({ err: error }, "Redis could not be reached");
      if (this.#connections === null) this.#scheduleStart();
      else this.#restart(this.#connections, "it could not be subscribed to");
    }
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#retry !== null) clearTimeout(this.#retry);
    this.#takeDown();
  }

  /** Resolves when it is subscribed, or at once where Redis is away: then `near` follows. */
  subscribe(channel: string): Promise<void> {
    const subscribing = this.#isNear ? this.#subscribeNow(channel) : Promise.resolve();
    this.#wanted.set(channel, subscribing);
    return subscribing;
  }

  unsubscribe(channel: string): void {
    this.#wanted.delete(channel);
    const connections = this.#connections;
    if (!this.#isNear || connections === null) return;
    connections
      .unsubscribe(this.#full(channel))
      .catch(() => this.#restart(connections, "it could not be unsubscribed"));
  }

  /** @returns whether they are on their way */
  publish(messages: Outgoing): boolean {
    const connections = this.#connections;
    if (!this.#isNear || connections === null) return false;
    connections
      .publish(messages.map(([channel, text]) => [this.#full(channel), text]))
      .catch(() => this.#restart(connections, "messages could not be published"));
    return true;
  }

  async #subscribeNow(channel: string): Promise<void> {
    const connections = this.#connections;
    if (connections === null) return;
    try {
      await connections.subscribe([this.#full(channel)]);
    } catch {
      this.#restart(connections, "it could not be subscribed to");
    }
  }

  /** What becomes wanted meanwhile, too. */
  async #subscribeAll(connections: Connections): Promise<void> {
    const subscribed = new Set<string>();
    const missing = () =>
      [...this.#heardAt.keys(), ...[...this.#wanted.keys()].map((name) => this.#full(name))].filter(
        (channel) => !subscribed.has(channel),
      );
    for (let channels = missing(); channels.length > 0; channels = missing()) {
      await inTime(connections.subscribe(channels));
      for (const channel of channels) subscribed.add(channel);
    }
  }

  #full(channel: string): string {
    return `${this.#options.prefix}:${channel}`;
  }

  #hear(channel: string, text: string): void {
    if (this.#heardAt.has(channel)) this.#heardAt.set(channel, performance.now());
    else this.emit("message", channel.slice(this.#options.prefix.length + 1), text);
  }

  #prove(connections: Connections): void {
    if (performance.now() - Math.min(...this.#heardAt.values()) > SILENCE_MS) {
      this.#restart(connections, `nothing was heard for ${SILENCE_MS} ms`);
      return;
    }
    connections.publish([...this.#heardAt.keys()].map((channel) => [channel, ""] as const)).catch(() => undefined); // what is not heard says it
  }

  #restart(connections: Connections, why: string): void {
    if (this.#connections !== connections || this.#isStopped) return;
    this.#logger.warn({ why }, "Redis is away");
    this.#takeDown();
    this.#scheduleStart();
  }

  #takeDown(): void {
    this.#connections?.close();
    this.#connections = null;
    if (this.#proof !== null) clearInterval(this.#proof);
    this.#proof = null;
    if (!this.#isNear) return;
    this.#isNear = false;
    this.emit("away");
  }

  #scheduleStart(): void {
    if (this.#isStopped) return;
    this.#retry = setTimeout(() => void this.start(), MAX_RECONNECT_MS * (0.5 + Math.random() / 2)).unref();
  }
}

/** What differs between one server and a cluster. */
interface Connections {
  /** Takes any command. */
  commands: Redis | Cluster;
  /** By how many channels it proves itself. */
  proofs: number;
  subscribe(channels: string[]): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  publish(messages: Outgoing): Promise<unknown>;
  onMessage(listener: (channel: string, text: string) => void): void;
  onEnd(listener: () => void): void;
  close(): void;
}

/** Reconnecting is the link's, which also knows what was lost. */
const COMMON = {
  lazyConnect: true,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  connectTimeout: COMMAND_TIMEOUT_MS,
  commandTimeout: COMMAND_TIMEOUT_MS,
  retryStrategy: () => null,
} as const;

async function connect(urls: readonly string[], logger: Logger): Promise<Connections> {
  let failure: unknown = new Error("no Redis is named");
  for (const url of urls) {
    const redis = new Redis(url, COMMON);
    redis.on("error", (error) => logger.debug({ err: error }, "a connection to Redis failed"));
    try {
      await redis.connect();
      const isCluster = /cluster_enabled:1/.test(await redis.info("cluster"));
      if (!isCluster) return await connectSingle(redis, logger);
      redis.disconnect();
      return await connectCluster(urls, logger);
    } catch (error) {
      redis.disconnect();
      failure = error;
    }
  }
  throw failure;
}

async function connectSingle(publisher: Redis, logger: Logger): Promise<Connections> {
  const subscriber = publisher.duplicate();
  subscriber.on("error", (error) => logger.debug({ err: error }, "a connection to Redis failed"));
  try {
    await subscriber.connect();
  } catch (error) {
    subscriber.disconnect();
    throw error;
  }
  return {
    commands: publisher,
    proofs: 1,
    subscribe: (channels) => subscriber.subscribe(...channels),
    unsubscribe: (channel) => subscriber.unsubscribe(channel),
    async publish(messages) {
      const pipeline = publisher.pipeline();
      for (const [channel, text] of messages) pipeline.publish(channel, text);
      const results = await pipeline.exec();
      const failed = results?.find(([error]) => error !== null);
      if (failed) throw failed[0];
    },
    onMessage: (listener) => void subscriber.on("message", listener),
    onEnd(listener) {
      publisher.on("end", listener);
      subscriber.on("end", listener);
    },
    close() {
      publisher.disconnect();
      subscriber.disconnect();
    },
  };
}

async function connectCluster(urls: readonly string[], logger: Logger): Promise<Connections> {
  const { password, username, tls } = new Redis(urls[0] as string, { lazyConnect: true }).options;
  const cluster = new Cluster(
    urls.map((url) => ({ host: new URL(url).hostname, port: Number(new URL(url).port || 6379) })),
    {
      lazyConnect: true,
      enableOfflineQueue: false,
      shardedSubscribers: true,
      clusterRetryStrategy: () => null,
      redisOptions: {
        ...(password == null ? {} : { password }),
        ...(username == null ? {} : { username }),
        ...(tls === undefined ? {} : { tls }),
        connectTimeout: COMMAND_TIMEOUT_MS,
        commandTimeout: COMMAND_TIMEOUT_MS,
        maxRetriesPerRequest: 0,
      },
    },
  );
  cluster.on("error", (error) => logger.debug({ err: error }, "a connection to Redis failed"));
  try {
    await cluster.connect();
  } catch (error) {
    cluster.disconnect();
    throw error;
  }
  return {
    commands: cluster,
    proofs: CLUSTER_PROOFS,
    // A call names channels of one slot.
    subscribe: (channels) => Promise.all(channels.map((channel) => cluster.ssubscribe(channel))),
    unsubscribe: (channel) => cluster.sunsubscribe(channel),
    publish: (messages) => Promise.all(messages.map(([channel, text]) => cluster.spublish(channel, text))),
    onMessage: (listener) => void cluster.on("smessage", listener),
    onEnd(listener) {
      cluster.on("end", listener);
    },
    close: () => cluster.disconnect(),
  };
}

/** @throws Error when it takes too long; `orLate` is given what comes all the same */
function inTime<T>(work: Promise<T>, orLate: (late: T) => void = () => undefined): Promise<T> {
  return withinTime(work, START_TIMEOUT_MS, () => {
    work.then(orLate, () => undefined); // what fails late is of no interest any more
    return new Error(`Redis took longer than ${START_TIMEOUT_MS} ms`);
  });
}
