import { EventEmitter } from "node:events";
import type { Cluster, Redis } from "ioredis";
import { createGuard, type Guard } from "../guard.ts";
import type { Logger } from "../logger.ts";
import { withinTime } from "../within-time.ts";
import { connectRedis, type Outgoing, type RedisConnections } from "./redis-connections.ts";

/*
 * The link to Redis that carries messages between processes.
 *
 *   away ──▶ near ──(a connection ends, silence)──▶ away …      stop() ends it from any state
 *
 * The link proves itself: every second it sends itself messages, in a cluster in so many channels that every shard
 * carries some. When one of them is not heard for three seconds, the link is taken down and set up anew, whatever TCP
 * believes.
 */

const PROOF_INTERVAL_MS = 1000;
const SILENCE_MS = 3000;
/** A cluster's client may wait for ever for a node that stands still. */
const START_TIMEOUT_MS = 4000;
const MAX_RECONNECT_MS = 1000;

interface LinkEvents {
  message: [channel: string, text: string];
  /** Messages arrive again. Those that were sent meanwhile are lost. */
  near: [];
  away: [];
}

export interface RedisLinkOptions {
  /** One URL, or several of one cluster. */
  urls: readonly string[];
  /** Stands before every channel's name: several installations may share a Redis. */
  prefix: string;
  /** This process, by a name that no other has. */
  node: string;
}

export class RedisLink extends EventEmitter<LinkEvents> {
  readonly #options: RedisLinkOptions;
  readonly #logger: Logger;
  readonly #guard: Guard;
  #connections: RedisConnections | null = null;
  /** Channels that are wanted, whether they are subscribed to now or not. */
  readonly #wanted = new Set<string>();
  #isNear = false;
  /** When each proof channel was heard last, by the monotonic clock. */
  readonly #heardAt = new Map<string, number>();
  #proof: NodeJS.Timeout | null = null;
  #retry: NodeJS.Timeout | null = null;
  #isStopped = false;

  constructor(options: RedisLinkOptions, { logger }: { logger: Logger }) {
    super();
    this.#options = options;
    this.#logger = logger;
    this.#guard = createGuard(logger);
  }

  get isNear(): boolean {
    return this.#isNear;
  }

  /** The connection that takes commands; null while Redis is away. */
  get commands(): Redis | Cluster | null {
    return this.#isNear ? (this.#connections?.commands ?? null) : null;
  }

  /** Resolves after the first attempt, and never rejects: while Redis is away the link goes on trying. */
  async start(): Promise<void> {
    if (this.#isStopped) return;
    try {
      await this.#setUp();
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

  /** Resolves when messages of the channel arrive; at once while Redis is away, and then `near` follows. */
  async subscribe(channel: string): Promise<void> {
    this.#wanted.add(channel);
    const connections = this.#connections;
    if (!this.#isNear || connections === null) return;
    try {
      await connections.subscribe([this.#full(channel)]);
    } catch {
      this.#restart(connections, "it could not be subscribed to");
    }
  }

  unsubscribe(channel: string): void {
    this.#wanted.delete(channel);
    const connections = this.#connections;
    if (!this.#isNear || connections === null) return;
    connections
      .unsubscribe(this.#full(channel))
      .catch(() => this.#restart(connections, "it could not be unsubscribed from"));
  }

  /** @returns whether the messages are on their way */
  publish(messages: Outgoing): boolean {
    const connections = this.#connections;
    if (!this.#isNear || connections === null) return false;
    connections
      .publish(messages.map(([channel, text]) => [this.#full(channel), text]))
      .catch(() => this.#restart(connections, "messages could not be published"));
    return true;
  }

  async #setUp(): Promise<void> {
    const { urls, node } = this.#options;
    const connections = await inTime(connectRedis(urls, this.#logger), (late) => late.close());
    if (this.#isStopped) {
      connections.close();
      return;
    }
    this.#connections = connections;
    connections.onMessage((channel, text) => this.#guard("a message of Redis", () => this.#hear(channel, text)));
    connections.onEnd(() => this.#guard("the end of Redis", () => this.#restart(connections, "a connection ended")));
    this.#heardAt.clear();
    for (let i = 0; i < connections.proofs; i += 1)
      this.#heardAt.set(this.#full(`proof:${node}:${i}`), performance.now());
    await this.#subscribeAll(connections);
    this.#proof = setInterval(
      () => this.#guard("proving the link to Redis", () => this.#prove(connections)),
      PROOF_INTERVAL_MS,
    ).unref();
    this.#isNear = true;
    this.#logger.info({ node }, "Redis is reached");
    this.#guard("the return of Redis", () => this.emit("near"));
  }

  /** Subscribes to all wanted channels, also to those that become wanted meanwhile. */
  async #subscribeAll(connections: RedisConnections): Promise<void> {
    const subscribed = new Set<string>();
    const missing = () =>
      [...this.#heardAt.keys(), ...[...this.#wanted].map((name) => this.#full(name))].filter(
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

  #prove(connections: RedisConnections): void {
    if (performance.now() - Math.min(...this.#heardAt.values()) > SILENCE_MS) {
      this.#restart(connections, `nothing was heard for ${SILENCE_MS} ms`);
      return;
    }
    const proofs = [...this.#heardAt.keys()].map((channel) => [channel, ""] as const);
    connections.publish(proofs).catch(() => undefined); // a proof that fails is not heard
  }

  #restart(connections: RedisConnections, reason: string): void {
    if (this.#connections !== connections || this.#isStopped) return;
    this.#logger.warn({ reason }, "Redis is away");
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
    this.#guard("the loss of Redis", () => this.emit("away"));
  }

  #scheduleStart(): void {
    if (this.#isStopped) return;
    this.#retry = setTimeout(() => void this.start(), MAX_RECONNECT_MS * (0.5 + Math.random() / 2)).unref();
  }
}

/** `orLate` takes a result that comes after the time is up. @throws Error when the time is up */
function inTime<T>(work: Promise<T>, orLate: (late: T) => void = () => undefined): Promise<T> {
  return withinTime(work, START_TIMEOUT_MS, () => {
    work.then(orLate, () => undefined); // its error matters no more
    return new Error(`Redis took longer than ${START_TIMEOUT_MS} ms`);
  });
}
