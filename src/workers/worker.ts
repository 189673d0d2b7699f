import { EventEmitter } from "node:events";
import type { Carrier } from "../live/bus/carrier.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { withinTime } from "../within-time.ts";
import type { FromSupervisor, FromWorker } from "./worker-messages.ts";

/*
 * A worker's end of the channel to its supervisor: it carries the bus to the other workers if no Redis does, and the
 * figures of all workers.
 */

const GATHER_TIMEOUT_MS = 5000;

interface WorkerEvents {
  message: [channel: string, text: string];
  near: [];
  /** Never told: a worker that has lost its supervisor stops. */
  away: [];
}

export class Worker extends EventEmitter<WorkerEvents> implements Carrier {
  readonly #metrics: Metrics;
  /** The channels of the bus that this worker subscribed to. */
  readonly #wanted = new Set<string>();
  /** Resolves this worker's questions for figures, by their number. */
  readonly #questions = new Map<number, (text: string) => void>();
  #lastQuestion = 0;

  constructor({ metrics }: { metrics: Metrics }) {
    super();
    this.#metrics = metrics;
    process.on("message", (message) => this.#hear(message as FromSupervisor));
    // A worker without its supervisor would be started again by nobody, and stopped by nobody.
    process.on("disconnect", () => process.kill(process.pid, "SIGTERM"));
  }

  /** True as long as the supervisor lives. */
  get isNear(): boolean {
    return process.connected;
  }

  /** Tells the supervisor that this worker takes connections. */
  ready(url: string): void {
    this.#say({ type: "ready", url });
  }

  /** The figures of all workers, in Prometheus's text format. @throws Error if the supervisor does not answer in time */
  async gather(): Promise<string> {
    this.#lastQuestion += 1;
    const question = this.#lastQuestion;
    try {
      const answer = new Promise<string>((resolve) => this.#questions.set(question, resolve));
      this.#say({ type: "gather", question });
      return await withinTime(answer, GATHER_TIMEOUT_MS, () => new Error("the supervisor did not answer"));
    } finally {
      this.#questions.delete(question);
    }
  }

  publish(messages: readonly (readonly [channel: string, text: string])[]): boolean {
    return this.#say({ type: "bus", messages: [...messages] });
  }

  async subscribe(channel: string): Promise<void> {
    this.#wanted.add(channel);
  }

  unsubscribe(channel: string): void {
    this.#wanted.delete(channel);
  }

  #say(message: FromWorker): boolean {
    if (!process.connected) return false;
    // The callback keeps a failed send from being thrown: the supervisor has gone, and this worker will stop.
    process.send?.(message, undefined, undefined, () => undefined);
    return true;
  }

  #hear(message: FromSupervisor): void {
    switch (message.type) {
      case "bus":
        for (const [channel, text] of message.messages)
          if (this.#wanted.has(channel)) this.emit("message", channel, text);
        break;
      case "joined":
        this.emit("near");
        break;
      case "gathered":
        this.#questions.get(message.question)?.(message.text);
        break;
      case "figures?":
        void this.#answer(message.question); // never rejects
        break;
    }
  }

  async #answer(question: number): Promise<void> {
    const figures = await this.#metrics.registry.getMetricsAsJSON().catch(() => []);
    this.#say({ type: "figures", question, figures });
  }
}
