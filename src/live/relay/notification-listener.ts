import { randomUUID } from "node:crypto";
import { createRequire } from "node:module";
import type { Subscriber } from "pg-listen";
import { isRowLocked } from "../../db/sqlstate.ts";
import { createGuard, type Guard } from "../../guard.ts";
import type { Logger } from "../../logger.ts";
import { endsWithin } from "../../within-time.ts";

/*
 * Listens for notifications of PostgreSQL as long as the process lives. The connection proves itself: every second it
 * sends itself a notification. When it has heard nothing for three seconds it is closed and replaced, whatever TCP
 * believes.
 *
 *   connecting ──▶ listening ──(error, silence)──▶ connecting …      stop() ends it from any state
 *
 * Notifications that are sent while it is connecting are lost. `onListening` has to make up for them.
 */

// pg-listen is CommonJS and exports a `default` of its own, which loaders treat differently.
const { default: createSubscriber } = createRequire(import.meta.url)("pg-listen") as typeof import("pg-listen");

const PROOF_CHANNEL = "playhead_proof";
const PROOF_INTERVAL_MS = 1000;
const SILENCE_MS = 3000;
const RECONNECT_MS = 500;
const CONNECT_TIMEOUT_MS = 5000;
const CLOSE_TIMEOUT_MS = 1000;

export interface NotificationListenerParts {
  connectionString: string;
  /** The connection's name in pg_stat_activity. */
  applicationName?: string;
  /** Handles a payload, by channel. */
  handlers: Record<string, (payload: string) => void>;
  /** It listens, for the first time or again: notifications may have been lost before. */
  onListening: () => void;
  /** It has heard its own notification, about once a second. `lagMs`: how long that was on its way. */
  onProof?: (lagMs: number) => void;
  /** It does not listen any more, until `onListening`. */
  onGap?: () => void;
  logger: Logger;
}

export class NotificationListener {
  readonly #parts: NotificationListenerParts;
  readonly #guard: Guard;
  readonly #id = randomUUID();
  #subscriber: Subscriber | null = null;
  #proof: NodeJS.Timeout | null = null;
  #reconnect: NodeJS.Timeout | null = null;
  /** Its own notification is on its way through this connection. */
  #proving: Subscriber | null = null;
  /** By the monotonic clock. */
  #heardAt = 0;
  #listening = false;
  /** Its loss is in the log. */
  #isLossLogged = false;
  #stopped = false;
  #onFirstListening: () => void = () => undefined;

  constructor(parts: NotificationListenerParts) {
    this.#parts = parts;
    this.#guard = createGuard(parts.logger);
  }

  /** Whether notifications arrive now. */
  get listening(): boolean {
    return this.#listening;
  }

  /** Resolves when it listens for the first time; it goes on trying until then. */
  async start(): Promise<void> {
    const first = new Promise<void>((resolve) => {
      this.#onFirstListening = resolve;
    });
    void this.#connect(); // never rejects: it is tried again
    await first;
  }

  /** Opens another connection: the database's address leads to another server now. */
  reconnect(): void {
    if (this.#subscriber !== null) this.#restart(this.#subscriber, new Error("the database has moved"));
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#reconnect !== null) clearTimeout(this.#reconnect);
    await this.#close();
  }

  async #connect(): Promise<void> {
    const subscriber = createSubscriber(
      {
        connectionString: this.#parts.connectionString,
        application_name: this.#parts.applicationName ?? "playhead-listener",
        connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
        // A proof must wait neither for a synchronous standby nor for a commit that does: it would leave a backend behind.
        options: `-c synchronous_commit=local -c lock_timeout=${PROOF_INTERVAL_MS}`,
        // No proof runs before it listens: a LISTEN that is never answered must not wait for ever.
        query_timeout: SILENCE_MS,
      },
      // pg-listen does not reconnect: it would give up for good after 3 s, or when a LISTEN fails after it reconnected.
      {
        retryLimit: 1,
        retryTimeout: 1,
        paranoidChecking: false,
        parse: (text: string) => text,
        serialize: (text: string) => text,
      },
    );
    this.#subscriber = subscriber;
    subscriber.events.on("error", (error: Error) => this.#restart(subscriber, error));
    subscriber.events.on("reconnect", () => this.#restart(subscriber, new Error("the connection ended")));
    for (const [channel, handler] of Object.entries(this.#parts.handlers)) {
      subscriber.notifications.on(channel, (payload: string) => this.#handle(channel, () => handler(payload)));
    }
    subscriber.notifications.on(PROOF_CHANNEL, (payload: string) =>
      this.#guard("a proof", () => this.#onProof(payload)),
    );
    try {
      await subscriber.connect();
      for (const channel of [PROOF_CHANNEL, ...Object.keys(this.#parts.handlers)]) await subscriber.listenTo(channel);
    } catch (error) {
      this.#restart(subscriber, error);
      return;
    }
    if (this.#subscriber === subscriber && !this.#stopped) this.#onListening(subscriber);
  }

  #onListening(subscriber: Subscriber): void {
    this.#listening = true;
    this.#isLossLogged = false;
    this.#heardAt = performance.now();
    this.#proof = setInterval(
      () => this.#guard("proving the listener", () => this.#prove(subscriber)),
      PROOF_INTERVAL_MS,
    ).unref();
    this.#parts.logger.info("listening for notifications");
    this.#guard("reading again what was missed", () => this.#parts.onListening());
    this.#onFirstListening();
  }

  #prove(subscriber: Subscriber): void {
    if (performance.now() - this.#heardAt > SILENCE_MS) {
      this.#restart(subscriber, new Error(`heard nothing for ${SILENCE_MS} ms`));
      return;
    }
    // If the last notification is not answered yet, another one would only wait behind it.
    if (this.#proving === subscriber) return;
    this.#proving = subscriber;
    // Other listeners of this database prove themselves in the same channel: the payload names the sender.
    const payload = `${this.#id}:${performance.now()}`;
    Promise.resolve(subscriber.notify(PROOF_CHANNEL, payload)).then(
      () => {
        if (this.#proving === subscriber) this.#proving = null;
      },
      (error: unknown) => {
        if (!isRowLocked(error)) {
          this.#restart(subscriber, error);
          return;
        }
        // PostgreSQL answers. A commit holds the queue of notifications, so none can be missed meanwhile.
        this.#heardAt = performance.now();
        if (this.#proving === subscriber) this.#proving = null;
      },
    );
  }

  #onProof(payload: string): void {
    const [sender, sentAt] = payload.split(":");
    if (sender !== this.#id) return;
    this.#heardAt = performance.now();
    this.#parts.onProof?.(this.#heardAt - Number(sentAt));
  }

  #handle(channel: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.#parts.logger.error({ err: error, channel }, "a notification could not be handled");
    }
  }

  #restart(subscriber: Subscriber, error: unknown): void {
    if (this.#subscriber !== subscriber) return;
    // One line a state: it tries again every half second.
    this.#parts.logger[this.#isLossLogged ? "debug" : "warn"]({ err: error }, "the listener lost its connection");
    this.#isLossLogged = true;
    void this.#close(); // never rejects
    if (!this.#stopped) this.#reconnect = setTimeout(() => void this.#connect(), RECONNECT_MS);
  }

  async #close(): Promise<void> {
    const subscriber = this.#subscriber;
    if (this.#listening) this.#guard("noting a gap", () => this.#parts.onGap?.());
    this.#subscriber = null;
    this.#listening = false;
    if (this.#proof !== null) clearInterval(this.#proof);
    this.#proof = null;
    // A dead connection may never answer that it is to be closed.
    const closed = Promise.resolve(subscriber?.close()).catch(() => undefined);
    await endsWithin(closed, CLOSE_TIMEOUT_MS);
  }
}
