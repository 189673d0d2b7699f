import { createGuard } from "../../guard.ts";
import type { Logger } from "../../logger.ts";
import { Listeners } from "../listeners.ts";
import type { Bus, BusListener, BusMessage, ChangedKey, PresenceReport } from "./bus.ts";
import type { Carrier } from "./carrier.ts";
import { channels, type PresenceKind } from "./channels.ts";
import { Outbox } from "./outbox.ts";
import { PresenceDemand } from "./presence-demand.ts";

/*
 * The bus of several processes, over anything that carries text between them. A process hears its own messages at once
 * and without the carrier; messages of other processes come a few times a second, many together.
 *
 * Viewers are told only in channels that another process has asked for lately: other processes watch few channels, and
 * heartbeats are many.
 */

export interface SharedBusParts {
  carrier: Carrier;
  /** This process, by a name that no other has. */
  node: string;
  /** The viewers in a course's or a user's channel whose players are connected to this process. */
  presentHere: (channel: string) => PresenceReport[];
  logger: Logger;
}

/** The channel in which processes ask each other for viewers. */
const CONTROL = "nodes";
const MAX_WANTED = 500;
const WANTED_INTERVAL_MS = 10_000;
/** A process that has not asked again for so long wants the viewers no more. */
const WANTED_LEASE_MS = 35_000;

/** Asks for the viewers of channels. `fresh`: also for those who are there already. */
interface Wanted {
  node: string;
  wanted: string[];
  fresh: boolean;
}
interface Envelope {
  node: string;
  messages: BusMessage[];
}
interface Subscription {
  count: number;
  ready: Promise<void>;
}

export class SharedBus implements Bus {
  readonly #parts: SharedBusParts;
  readonly #listeners = new Listeners<Parameters<BusListener>>();
  readonly #subscriptions = new Map<string, Subscription>();
  readonly #demand = new PresenceDemand();
  readonly #outbox: Outbox;
  readonly #renewal: NodeJS.Timeout;

  constructor(parts: SharedBusParts) {
    this.#parts = parts;
    const { carrier, node, logger } = parts;
    const guard = createGuard(logger);
    // Messages that cannot be sent are lost. The others learn of the gap when they hear `near`.
    this.#outbox = new Outbox((texts) => guard("sending to other processes", () => carrier.publish(texts)), node);
    carrier.on("message", (channel, text) => this.#hear(channel, text));
    carrier.on("near", () => guard("catching up with other processes", () => this.#catchUp()));
    void carrier.subscribe(CONTROL); // never rejects
    this.#renewal = setInterval(() => guard("asking for viewers", () => this.#renew()), WANTED_INTERVAL_MS).unref();
  }

  stop(): void {
    clearInterval(this.#renewal);
    this.#outbox.stop();
  }

  publish(channel: string, message: BusMessage): void {
    this.#listeners.tell(message, channel);
    this.#outbox.put(channel, message);
  }

  publishChanges(keys: readonly ChangedKey[]): void {
    this.#listeners.tell({ type: "changed", keys }, null);
    const byCourse = new Map<string, ChangedKey[]>();
    for (const key of keys) {
      const ofCourse = byCourse.get(key.courseId);
      if (ofCourse === undefined) byCourse.set(key.courseId, [key]);
      else ofCourse.push(key);
      this.#outbox.put(channels.user(key.userId), { type: "changed", keys: [key] });
    }
    for (const [courseId, ofCourse] of byCourse)
      this.#outbox.put(channels.course(courseId), { type: "changed", keys: ofCourse });
  }

  publishPresence(report: PresenceReport): void {
    this.#publishPresenceOf("course", report.courseId, report);
    this.#publishPresenceOf("user", report.userId, report);
  }

  #publishPresenceOf(kind: PresenceKind, id: string, report: PresenceReport): void {
    if (this.#demand.isWantedByOthers(kind, id)) this.#outbox.putPresence(channels[kind](id), report);
  }

  listen(listener: BusListener): () => void {
    return this.#listeners.add(listener);
  }

  subscribe(channel: string): Promise<void> {
    const known = this.#subscriptions.get(channel);
    if (known !== undefined) {
      known.count += 1;
      return known.ready;
    }
    const ready = this.#parts.carrier.subscribe(channel);
    this.#subscriptions.set(channel, { count: 1, ready });
    return ready;
  }

  unsubscribe(channel: string): void {
    const subscription = this.#subscriptions.get(channel);
    if (subscription === undefined) return;
    subscription.count -= 1;
    if (subscription.count > 0) return;
    this.#subscriptions.delete(channel);
    this.#parts.carrier.unsubscribe(channel);
  }

  wantPresence(channel: string): void {
    if (!this.#demand.want(channel)) return;
    // The question goes out when the answers can be heard.
    void this.#subscriptions.get(channel)?.ready.then(() => this.#ask([channel], true));
  }

  releasePresence(channel: string): void {
    this.#demand.release(channel);
  }

  #hear(channel: string, text: string): void {
    try {
      if (channel === CONTROL) {
        this.#hearWanted(JSON.parse(text) as Wanted);
        return;
      }
      const { node, messages } = JSON.parse(text) as Envelope;
      if (node === this.#parts.node) return;
      for (const message of messages) this.#listeners.tell(message, channel);
    } catch (error) {
      this.#parts.logger.error({ err: error, channel }, "a message of another process could not be handled");
    }
  }

  #hearWanted({ node, wanted, fresh }: Wanted): void {
    if (node === this.#parts.node) return;
    const until = performance.now() + WANTED_LEASE_MS;
    for (const channel of wanted) {
      this.#demand.othersWant(channel, until);
      if (fresh) this.#tellPresent(channel);
    }
  }

  /** The carrier is back after a gap: messages of both sides may have been lost. */
  #catchUp(): void {
    this.#ask(this.#demand.ofHere(), true);
    for (const channel of this.#demand.ofOthers()) this.#tellPresent(channel);
    this.#listeners.tell({ type: "again" }, channels.all);
  }

  #tellPresent(channel: string): void {
    for (const report of this.#parts.presentHere(channel)) this.#outbox.putPresence(channel, report);
  }

  #ask(wanted: string[], fresh: boolean): void {
    const { node, carrier } = this.#parts;
    for (let from = 0; from < wanted.length; from += MAX_WANTED) {
      const question: Wanted = { node, wanted: wanted.slice(from, from + MAX_WANTED), fresh };
      carrier.publish([[CONTROL, JSON.stringify(question)]]);
    }
  }

  #renew(): void {
    this.#demand.forgetExpired();
    this.#ask(this.#demand.ofHere(), false);
  }
}
