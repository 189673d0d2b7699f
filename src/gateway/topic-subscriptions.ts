import type { Caller } from "../auth/caller.ts";
import { AppError, toWireError, type WireError } from "../errors.ts";
import type { LiveHub } from "../live/hub/live-hub.ts";
import { parseTopic, TOPIC_FORMS, type Topic } from "../protocol/dashboard.ts";
import type { GatewaySocket } from "./call.ts";
import { type SocketOutlet, SocketSubscriber } from "./outlet.ts";
import type { SocketGuard } from "./socket-guard.ts";
import { authorizeTopic, isGone, type TopicFacts } from "./topic-rights.ts";

/*
 * The topics that dashboards watch. The right to a topic is checked when it is subscribed to, and again when it may have
 * changed; a socket that has lost the right is unsubscribed, and told so. The topic of what was deleted ends empty.
 */

/** After so long, rights that could not be checked are checked again. */
const RECHECK_MS = 2000;
/** How many topics one connection may watch. */
const MAX_TOPICS = 100;

export interface TopicSubscriptionsParts {
  hub: Pick<LiveHub, "subscribe" | "unsubscribe" | "end">;
  outlet: SocketOutlet;
  guard: SocketGuard;
  facts: TopicFacts;
}

export class TopicSubscriptions {
  readonly #hub: TopicSubscriptionsParts["hub"];
  readonly #outlet: SocketOutlet;
  readonly #guard: SocketGuard;
  readonly #facts: TopicFacts;

  constructor({ hub, outlet, guard, facts }: TopicSubscriptionsParts) {
    this.#hub = hub;
    this.#outlet = outlet;
    this.#guard = guard;
    this.#facts = facts;
  }

  /** @returns the ack of `subscribe` @throws AppError `bad_request`, `forbidden`, `not_found` */
  async subscribe(socket: GatewaySocket, name: string): Promise<object> {
    const topic = toTopic(name);
    if (!socket.data.topics.has(name) && socket.data.topics.size >= MAX_TOPICS) {
      throw new AppError(
        "bad_request",
        `A connection may watch ${MAX_TOPICS} topics; unsubscribe from one, or open another connection.`,
      );
    }
    const courseId = await authorizeTopic(socket.data.caller, topic, this.#facts);
    socket.data.topics.add(name);
    try {
      const subscriber = new SocketSubscriber(this.#outlet, socket);
      const snapshot = await this.#hub.subscribe(name, topic, courseId, subscriber);
      if (!socket.connected) this.#hub.unsubscribe(name, socket.id);
      // The course may have got another instructor while the snapshot was read.
      await authorizeTopic(socket.data.caller, topic, this.#facts);
      return { topic: name, snapshot };
    } catch (error) {
      this.#remove(socket, name);
      throw error;
    }
  }

  /** @throws AppError `bad_request` */
  unsubscribe(socket: GatewaySocket, name: string): void {
    toTopic(name);
    this.#remove(socket, name);
  }

  unsubscribeAll(socket: GatewaySocket): void {
    for (const name of socket.data.topics) this.#hub.unsubscribe(name, socket.id);
    socket.data.topics.clear();
  }

  /** Unsubscribes the socket from topics that it may no longer watch. A right that cannot be checked now is checked later. */
  async recheck(socket: GatewaySocket, names: Iterable<string>): Promise<void> {
    const undecided: string[] = [];
    for (const name of [...names]) {
      const refusal = await this.#refusalOf(socket.data.caller, toTopic(name));
      if (refusal === null) continue;
      if (refusal.code === "internal" || refusal.code === "unavailable") undecided.push(name);
      else {
        if (refusal.code === "not_found") this.#hub.end(name, socket.id);
        this.#remove(socket, name);
        socket.emit("unsubscribed", { topic: name, error: refusal } as never);
      }
    }
    if (undecided.length === 0 || !socket.connected) return;
    setTimeout(() => this.#guard(socket, () => this.recheck(socket, undecided)), RECHECK_MS).unref();
  }

  #remove(socket: GatewaySocket, name: string): void {
    socket.data.topics.delete(name);
    this.#hub.unsubscribe(name, socket.id);
  }

  async #refusalOf(caller: Caller, topic: Topic): Promise<WireError | null> {
    try {
      // Who could watch a topic may know that it is gone. To strangers `forbidden` does not tell.
      if (await isGone(topic, this.#facts)) throw new AppError("not_found", "What this topic showed was deleted.");
      await authorizeTopic(caller, topic, this.#facts);
      return null;
    } catch (error) {
      return toWireError(error);
    }
  }
}

/** @throws AppError `bad_request` */
function toTopic(name: string): Topic {
  const topic = parseTopic(name);
  if (topic !== null) return topic;
  throw new AppError("bad_request", `There is no topic of this form; expected ${TOPIC_FORMS}.`, {
    issues: [{ path: "topic", message: `expected ${TOPIC_FORMS}` }],
  });
}
