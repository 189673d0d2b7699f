import { Cluster, Redis } from "ioredis";
import type { Logger } from "../logger.ts";

/*
 * The connections that a link needs, to one Redis or to a cluster: commands on one, subscriptions on another. None of
 * them reconnects by itself: the link does, because it has to report the gap.
 */

/** Messages that go out together. */
export type Outgoing = readonly (readonly [channel: string, text: string])[];

export interface RedisConnections {
  /** Takes any command. */
  readonly commands: Redis | Cluster;
  /** How many channels it takes to prove that every shard carries messages. */
  readonly proofs: number;
  subscribe(channels: string[]): Promise<unknown>;
  unsubscribe(channel: string): Promise<unknown>;
  publish(messages: Outgoing): Promise<unknown>;
  onMessage(listener: (channel: string, text: string) => void): void;
  /** The listener hears that a connection ended. */
  onEnd(listener: () => void): void;
  close(): void;
}

/** A message that is not on its way within this time is given up: one that comes late is worse than one known to be lost. */
const COMMAND_TIMEOUT_MS = 1000;
/** With so many channels, a shard that carries none of them is unlikely up to a handful of shards. */
const CLUSTER_PROOFS = 24;

const SINGLE_OPTIONS = {
  lazyConnect: true,
  enableOfflineQueue: false,
  maxRetriesPerRequest: 0,
  connectTimeout: COMMAND_TIMEOUT_MS,
  commandTimeout: COMMAND_TIMEOUT_MS,
  retryStrategy: () => null,
} as const;

/**
 * Connects to the first of the URLs that answers; to the cluster of all of them if that one belongs to a cluster.
 * @throws the last URL's error, if none answers
 */
export async function connectRedis(urls: readonly string[], logger: Logger): Promise<RedisConnections> {
  let failure: unknown = new Error("No Redis is configured.");
  for (const url of urls) {
    const redis = new Redis(url, SINGLE_OPTIONS);
    logErrors(redis, logger);
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

async function connectSingle(commands: Redis, logger: Logger): Promise<RedisConnections> {
  const subscriber = commands.duplicate();
  logErrors(subscriber, logger);
  try {
    await subscriber.connect();
  } catch (error) {
    subscriber.disconnect();
    throw error;
  }
  return {
    commands,
    proofs: 1,
    subscribe: (channels) => subscriber.subscribe(...channels),
    unsubscribe: (channel) => subscriber.unsubscribe(channel),
    async publish(messages) {
      const pipeline = commands.pipeline();
      for (const [channel, text] of messages) pipeline.publish(channel, text);
      const results = await pipeline.exec();
      const failed = results?.find(([error]) => error !== null);
      if (failed) throw failed[0];
    },
    onMessage: (listener) => void subscriber.on("message", listener),
    onEnd(listener) {
      commands.on("end", listener);
      subscriber.on("end", listener);
    },
    close() {
      commands.disconnect();
      subscriber.disconnect();
    },
  };
}

async function connectCluster(urls: readonly string[], logger: Logger): Promise<RedisConnections> {
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
  logErrors(cluster, logger);
  try {
    await cluster.connect();
  } catch (error) {
    cluster.disconnect();
    throw error;
  }
  return {
    commands: cluster,
    proofs: CLUSTER_PROOFS,
    // One call takes channels of one slot only.
    subscribe: (channels) => Promise.all(channels.map((channel) => cluster.ssubscribe(channel))),
    unsubscribe: (channel) => cluster.sunsubscribe(channel),
    publish: (messages) => Promise.all(messages.map(([channel, text]) => cluster.spublish(channel, text))),
    onMessage: (listener) => void cluster.on("smessage", listener),
    onEnd: (listener) => void cluster.on("end", listener),
    close: () => cluster.disconnect(),
  };
}

function logErrors(redis: Redis | Cluster, logger: Logger): void {
  redis.on("error", (error) => logger.debug({ err: error }, "a connection to Redis failed"));
}
