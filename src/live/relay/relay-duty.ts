import { Election } from "../../db/election.ts";
import type { Logger } from "../../logger.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import type { Bus, ChangedKey } from "../bus/bus.ts";
import { channels } from "../bus/channels.ts";
import { NotificationListener } from "./notification-listener.ts";
import { relayProgress, relayStreams } from "./relay.ts";

/*
 * Relays notifications while this is the process's duty: always if it runs alone, by election if it shares the bus with
 * others. A process that takes the duty up listens first, and then has everything read again; so no change is lost
 * between two relays.
 */

export interface RelayDutyParts {
  /** Past any pooler. */
  connectionString: string;
  bus: Bus;
  /** A cache of reads, which has to learn of changes; null where there is none. Neither call rejects. */
  cache: {
    outdate(keys: readonly ChangedKey[]): Promise<void>;
    outdateAll(): Promise<void>;
  } | null;
  /** Whether this process could relay to the others; null where it runs alone. */
  shared: { canRelay: () => boolean } | null;
  metrics: Metrics;
  logger: Logger;
}

export class RelayDuty {
  readonly #parts: RelayDutyParts;
  readonly #election: Election | null;
  #listener: NotificationListener | null = null;

  constructor(parts: RelayDutyParts) {
    this.#parts = parts;
    const { shared, connectionString, logger } = parts;
    this.#election =
      shared === null
        ? null
        : new Election({
            duty: "relay",
            connectionString,
            isAble: shared.canRelay,
            onElected: () => this.#takeUp(),
            onDismissed: () => this.#layDown(),
            logger,
          });
  }

  start(): void {
    if (this.#election === null) this.#takeUp();
    else this.#election.start();
  }

  async stop(): Promise<void> {
    await this.#election?.stop();
    this.#layDown();
  }

  #takeUp(): void {
    const { connectionString, bus, cache, metrics, logger } = this.#parts;
    const listener = new NotificationListener({
      connectionString,
      applicationName: "playhead-relay-listener",
      handlers: {
        progress(payload) {
          const keys = relayProgress(bus, payload);
          void (keys === null ? cache?.outdateAll() : cache?.outdate(keys)); // never rejects
        },
        streams: (payload) => relayStreams(bus, payload),
      },
      onListening() {
        void cache?.outdateAll(); // never rejects
        bus.publish(channels.all, { type: "again" });
      },
      onProof(lagMs) {
        metrics.relayActive.set(1);
        metrics.relayLagSeconds.set(lagMs / 1000);
        bus.publish(channels.pulse, { type: "pulse" });
      },
      onGap: () => metrics.relayActive.set(0),
      logger,
    });
    this.#listener = listener;
    void listener.start(); // never rejects
  }

  #layDown(): void {
    this.#parts.metrics.relayActive.set(0);
    void this.#listener?.stop(); // never rejects
    this.#listener = null;
  }
}
