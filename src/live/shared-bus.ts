import type { Logger } from "../logger.ts";
import { type Bus, type BusHandler, type BusMessage, LocalHandlers, type PresenceReport } from "./bus.ts";
import { PresenceDemand, type PresenceKind } from "./presence-demand.ts";

/*
 * The bus of several processes, over whatever carries text between them. What a process tells itself it hears at once
 * and without a detour; what the others tell comes over the carrier, a few times a second and many messages together.
 *
 * Viewers are told only where another process has said lately that it wants them: most channels are watched by nobody
 * else, and heartbeats are many.
 */

/** Carries text between processes, and tells when it could not. */
export interface Carrier {
  /** @returns whether it is on its way */
  publish(messages: readonly (readonly [channel: string, text: string])[]): boolean;
  subscribe(channel: string): Promise<void>;
  unsubscribe(channel: string): void;
  on(event: "message", listener: (channel: string, text: string) => void): unknown;
  /** The others can be reached again: what was said meanwhile is lost. */
  on(event: "near", listener: () => void): unknown;
}

export interface SharedBusParts {
  carrier: Carrier;
  /** This process, by a name that no other has. */
  node: string;
  /** Who is present here, in a channel that another process begins to watch. */
  presentIn: (channel: string) => PresenceReport[];
  /** What others said may have been lost. */
  onGap: () => void;
  logger: Logger;
}

/** What waits so long goes out together. */
const GATHER_MS = 20;
/** A text that is longer is cut into several. */
const MAX_MESSAGES = 500;
const CONTROL = "nodes";
const WANTED_INTERVAL_MS = 10_000;
/** A process that has not said for so long that it wants them wants them no more. */
const WANTED_LEASE_MS = 35_000;

/** What processes say to each other about the bus itself. `fresh`: those who are there are wanted at once. */
interface Wanted {
  node: string;
  wanted: string[];
  fresh: boolean;
}
interface Envelope {
  node: string;
  messages: BusMessage[];
}

export class SharedBus implements Bus {
  readonly #parts: SharedBusParts;
  readonly #local = new LocalHandlers();
  /** What waits to go out, by channel. */
  #waiting = new Map<string, BusMessage[]>();
  /** Places of viewers in what waits: of one viewer only the newest report goes out. */
  #places = new Map<string, number>();
  #gather: NodeJS.Timeout | null = null;
  readonly #ready = new Map<string, Promise<void>>();
  readonly #demand = new PresenceDemand();
  readonly #renewal: NodeJS.Timeout;

  constructor(parts: SharedBusParts) {
    this.#parts = parts;
    const { carrier } = parts;
    carrier.on("message", (channel, text) => this.#hear(channel, text));
    carrier.on("near", () => {
      this.#sayWanted(this.#demand.ofHere(), true);
      // The others may have asked while this process could not hear.
      for (const channel of this.#demand.ofOthers()) this.#tellPresent(channel);
      parts.onGap();
    });
    void carrier.subscribe(CONTROL); // never rejects
    this.#renewal = setInterval(() => this.#renew(), WANTED_INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#renewal);
    if (this.#gather !== null) clearTimeout(this.#gather);
  }

  publish(channel: string, message: BusMessage): void {
    this.#local.deliver(channel, message);
    if (message.type === "present") {
      if (!this.#demand.isWantedByOthers(channel)) return;
      this.#putPresent(channel, message);
    } else this.#put(channel, message);
    this.#gather ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  subscribe(channel: string, handler: BusHandler) {
    const isFirst = !this.#local.has(channel);
    this.#local.add(channel, handler);
    if (isFirst) this.#ready.set(channel, this.#parts.carrier.subscribe(channel));
    return {
      ready: this.#ready.get(channel) ?? Promise.resolve(),
      leave: () => this.unsubscribe(channel, handler),
    };
  }

  unsubscribe(channel: string, handler: BusHandler): void {
    if (!this.#local.has(channel)) return;
    this.#local.remove(channel, handler);
    if (this.#local.has(channel)) return;
    this.#ready.delete(channel);
    this.#parts.carrier.unsubscribe(channel);
  }

  wantPresence(channel: string): () => void {
    // Asked for when the answers can be heard.
    if (this.#demand.want(channel)) void this.#ready.get(channel)?.then(() => this.#sayWanted([channel], true));
    return () => this.#demand.wantNoMore(channel);
  }

  isPresenceWanted(kind: PresenceKind, id: string): boolean {
    return this.#demand.isWanted(kind, id);
  }

  #put(channel: string, message: BusMessage): number {
    const messages = this.#waiting.get(channel) ?? [];
    this.#waiting.set(channel, messages);
    return messages.push(message) - 1;
  }

  #putPresent(channel: string, message: BusMessage & { type: "present" }): void {
    const { userId, fileId } = message.report;
    const key = `${channel}\u0000${userId}\u0000${fileId}`;
    const place = this.#places.get(key);
    const messages = this.#waiting.get(channel);
    if (place !== undefined && messages !== undefined) messages[place] = message;
    else this.#places.set(key, this.#put(channel, message));
  }

  #flush(): void {
    this.#gather = null;
    const { node, carrier } = this.#parts;
    const texts: [string, string][] = [];
    for (const [channel, messages] of this.#waiting) {
      for (let from = 0; from < messages.length; from += MAX_MESSAGES) {
        const envelope: Envelope = { node, messages: messages.slice(from, from + MAX_MESSAGES) };
        texts.push([channel, JSON.stringify(envelope)]);
      }
    }
    this.#waiting = new Map();
    this.#places = new Map();
    // What cannot be sent is lost, and the others know when they are near again.
    carrier.publish(texts);
  }

  #hear(channel: string, text: string): void {
    try {
      if (channel === CONTROL) {
        this.#hearWanted(JSON.parse(text) as Wanted);
        return;
      }
      const { node, messages } = JSON.parse(text) as Envelope;
      if (node === this.#parts.node) return;
      for (const message of messages) this.#local.deliver(channel, message);
    } catch (error) {
      this.#parts.logger.error({ err: error, channel }, "a message of another process could not be handled");
    }
  }

  #hearWanted({ node, wanted, fresh }: Wanted): void {
    if (node === this.#parts.node) return;
    const until = performance.now() + WANTED_LEASE_MS;
    for (const channel of wanted) {
      this.#demand.othersWant(channel, until);
      if (!fresh) continue;
      this.#tellPresent(channel);
    }
  }

  #tellPresent(channel: string): void {
    for (const report of this.#parts.presentIn(channel)) this.#putPresent(channel, { type: "present", report });
    if (this.#waiting.size > 0) this.#gather ??= setTimeout(() => this.#flush(), GATHER_MS);
  }

  #sayWanted(wanted: string[], fresh: boolean): void {
    const { node, carrier } = this.#parts;
    for (let from = 0; from < wanted.length; from += MAX_MESSAGES) {
      const said: Wanted = { node, wanted: wanted.slice(from, from + MAX_MESSAGES), fresh };
      carrier.publish([[CONTROL, JSON.stringify(said)]]);
    }
  }

  #renew(): void {
    this.#demand.forgetExpired();
    this.#sayWanted(this.#demand.ofHere(), false);
  }
}
