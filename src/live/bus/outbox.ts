import type { BusMessage, PresenceReport } from "./bus.ts";
import type { Outgoing } from "./carrier.ts";

/*
 * Messages that wait to go to other processes. All that come within a moment go out together, one text a channel.
 */

const GATHER_MS = 20;
/** A text holds so many messages at most. */
const MAX_MESSAGES = 500;

export class Outbox {
  readonly #send: (texts: Outgoing) => void;
  readonly #node: string;
  #waiting = new Map<string, BusMessage[]>();
  /** Where in `#waiting` the report of a viewer stands: only its newest goes out. */
  #places = new Map<string, number>();
  #timer: NodeJS.Timeout | null = null;

  /** `node` names this process in every text. */
  constructor(send: (texts: Outgoing) => void, node: string) {
    this.#send = send;
    this.#node = node;
  }

  put(channel: string, message: BusMessage): void {
    this.#push(channel, message);
  }

  putPresence(channel: string, report: PresenceReport): void {
    const message: BusMessage = { type: "present", report };
    const key = `${channel}\u0000${report.userId}\u0000${report.fileId}`;
    const place = this.#places.get(key);
    const messages = this.#waiting.get(channel);
    if (place !== undefined && messages !== undefined) messages[place] = message;
    else this.#places.set(key, this.#push(channel, message));
  }

  /** Messages that still wait are lost. */
  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** @returns the message's place among those of its channel */
  #push(channel: string, message: BusMessage): number {
    this.#timer ??= setTimeout(() => this.#flush(), GATHER_MS);
    const messages = this.#waiting.get(channel);
    if (messages !== undefined) return messages.push(message) - 1;
    this.#waiting.set(channel, [message]);
    return 0;
  }

  #flush(): void {
    this.#timer = null;
    const texts: [channel: string, text: string][] = [];
    for (const [channel, messages] of this.#waiting) {
      for (let from = 0; from < messages.length; from += MAX_MESSAGES) {
        const part = messages.slice(from, from + MAX_MESSAGES);
        texts.push([channel, JSON.stringify({ node: this.#node, messages: part })]);
      }
    }
    this.#waiting = new Map();
    this.#places = new Map();
    this.#send(texts);
  }
}
