import { Election, type ElectionParts } from "../../db/election.ts";
import { createGuard } from "../../guard.ts";
import type { Logger } from "../../logger.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import type { Bus, ChangedKey } from "../bus/bus.ts";
import type { Carrier } from "../bus/carrier.ts";
import { channels } from "../bus/channels.ts";
import { NotificationListener, type NotificationListenerParts } from "./notification-listener.ts";
import { relayProgress, relayStreams } from "./relay.ts";

/*
 * Relays notifications while this is the process's duty: always if it runs alone, by election if it shares the bus with
 * others. A process that takes the duty up listens first, and then has everything read again; so no change is lost
 * between two relays.
 *
 * While the others cannot be reached nobody relays. Then every process listens for itself, and shows what it hears from
 * the database in its own rooms. It sends itself no pulse: viewers of other processes do not come, so it stays behind.
 */

export interface RelayDutyParts {
  /** Past any pooler. */
  connectionString: string;
  /** Checks the connection of the election. */
  admit: NonNullable<ElectionParts["admit"]>;
  bus: Bus;
  /** A cache of reads, which has to learn of changes; null where there is none. Neither call rejects. */
  cache: {
    outdate(keys: readonly ChangedKey[]): Promise<void>;
    outdateAll(): Promise<void>;
    forgetUser(userId: string): Promise<void>;
  } | null;
  /** The way to the other processes; null where this one runs alone. */
  carrier: Pick<Carrier, "isNear" | "on"> | null;
  metrics: Metrics;
  logger: Logger;
}

export class RelayDuty {
  readonly #parts: RelayDutyParts;
  readonly #election: Election | null;
  /** Listens for all processes, or alone for this one. */
  #listener: NotificationListener | null = null;
  #ownListener: NotificationListener | null = null;
  #isStopped = false;

  constructor(parts: RelayDutyParts) {
    this.#parts = parts;
    const { carrier, connectionString, admit, logger } = parts;
    this.#election =
      carrier === null
        ? null
        : new Election({
            duty: "relay",
            connectionString,
            admit,
            isAble: () => carrier.isNear,
            onElected: () => this.#takeUp(),
            onDismissed: () => this.#layDown(),
            logger,
          });
  }

  start(): void {
    const { carrier } = this.#parts;
    if (carrier === null) {
      this.#takeUp();
      return;
    }
    this.#election?.start();
    const guard = createGuard(this.#parts.logger);
    carrier.on("away", () => guard("listening without the others", () => this.#hearAlone()));
    carrier.on("near", () => guard("listening with the others", () => this.#hearOthers()));
    if (!carrier.isNear) this.#hearAlone();
  }

  /** Another database answers from now on. */
  reconnect(): void {
    this.#listener?.reconnect();
    this.#ownListener?.reconnect();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#hearOthers();
    await this.#election?.stop();
    this.#layDown();
  }

  #hearAlone(): void {
    if (this.#isStopped || this.#ownListener !== null) return;
    this.#ownListener = this.#listen("playhead-own-listener", {});
  }

  /** The others are heard again: they have a relay, or elect one, and it has everything read again. */
  #hearOthers(): void {
    void this.#ownListener?.stop(); // never rejects
    this.#ownListener = null;
  }

  #takeUp(): void {
    const { bus, metrics } = this.#parts;
    this.#listener = this.#listen("playhead-relay-listener", {
      onProof(lagMs) {
        metrics.relayActive.set(1);
        metrics.relayLagSeconds.set(lagMs / 1000);
        bus.publish(channels.pulse, { type: "pulse" });
      },
      onGap: () => metrics.relayActive.set(0),
    });
  }

  #listen(applicationName: string, duty: Pick<NotificationListenerParts, "onProof" | "onGap">): NotificationListener {
    const { connectionString, bus, cache, logger } = this.#parts;
    /** What the cache was told; never rejects. */
    let told: Promise<unknown> = Promise.resolve();
    const listener = new NotificationListener({
      connectionString,
      applicationName,
      handlers: {
        progress(payload) {
          const keys = relayProgress(bus, payload);
          if (cache !== null) told = Promise.all([told, keys === null ? cache.outdateAll() : cache.outdate(keys)]);
        },
        deleted_users(payload) {
          const { userId } = JSON.parse(payload) as { userId?: string };
          // The notifications of the user's rows came before: what they left in the cache is removed too.
          if (cache !== null && userId !== undefined) void told.then(() => cache.forgetUser(userId)); // never rejects
        },
        streams: (payload) => relayStreams(bus, payload),
      },
      onListening() {
        void cache?.outdateAll(); // never rejects
        bus.publish(channels.all, { type: "again" });
      },
      ...duty,
      logger,
    });
    void listener.start(); // never rejects
    return listener;
  }

  #layDown(): void {
    this.#parts.metrics.relayActive.set(0);
    void this.#listener?.stop(); // never rejects
    this.#listener = null;
  }
}
