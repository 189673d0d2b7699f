import { isConnectionError } from "../../db/sqlstate.ts";
import type { Logger } from "../../logger.ts";
import { DueTimer } from "../due-timer.ts";
import type { SessionStore } from "./session-store.ts";

/*
 * Ends what nobody ended: leases that are lost, windows that passed, reservations that nobody started. Every process
 * sweeps; the stream's lock makes it happen once.
 */

/** Other processes' sessions are seen this late at the most; its own are known at once. */
const LOOK_AGAIN_MS = 5000;

export class SessionSweeper {
  readonly #timer: DueTimer;
  readonly #leaseMs: number;
  #heldUntil = 0;

  constructor({ store, logger }: { store: SessionStore; logger: Logger }, { leaseSeconds }: { leaseSeconds: number }) {
    this.#leaseMs = leaseSeconds * 1000;
    this.#timer = new DueTimer({
      what: "sessions of streams",
      lookAgainMs: LOOK_AGAIN_MS,
      findNextDueMs: async () => {
        const dueMs = await store.findNextDueMs();
        return dueMs === null ? null : Math.max(dueMs, this.#heldUntil - performance.now());
      },
      run: async () => {
        for (const streamId of await store.findDue()) {
          await store.sweep(streamId).catch((error: unknown) => {
            // A stream that somebody holds locked keeps no other from being swept.
            if (isConnectionError(error)) throw error;
            logger.warn({ err: error, streamId }, "a stream's session could not be swept");
          });
        }
      },
      onFailure: () => this.hold(),
      logger,
    });
  }

  /**
   * Sweeps nothing for the length of a lease: after a start or an outage media servers first have to get through
   * again, or the outage would end what is live.
   */
  hold(): void {
    this.#heldUntil = performance.now() + this.#leaseMs;
    this.#timer.arm();
  }

  /** A session of this process changed: its time is up in `dueInMs`, or later. */
  arm(dueInMs = 0): void {
    this.#timer.arm(dueInMs);
  }

  stop(): void {
    this.#timer.stop();
  }
}
