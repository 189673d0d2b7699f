import { isConnectionError, isStorageFault } from "../../db/sqlstate.ts";
import type { Logger } from "../../logger.ts";
import { DueTimer } from "../due-timer.ts";
import type { SessionDeadlines } from "./session-deadlines.ts";

/*
 * Ends what no media server ended: leases that are lost, reconnect windows that have passed, reservations that nobody
 * started. Every process sweeps; the stream's lock makes each end happen once.
 *
 * Deadlines are stored by the database's clock, which somebody may set. The sweeper compares it with the monotonic clock at
 * every look. If it was set forward, every deadline seems to be over: the sweeper holds. If it was set back, every deadline
 * is too far away: the sweeper shortens them.
 */

/** Sessions of other processes are noticed this late at most; those of this process at once, by `arm`. */
const LOOK_AGAIN_MS = 5000;
/** A clock that moves by more between two looks was set. Slewed clocks move by milliseconds, slow answers by less than this. */
const STEP_MS = 3000;

export interface SessionSweeperParts {
  deadlines: Pick<SessionDeadlines, "findDue" | "findNextDueMs" | "sweep" | "readClock" | "shorten">;
  logger: Logger;
}

export class SessionSweeper {
  readonly #deadlines: SessionSweeperParts["deadlines"];
  readonly #timer: DueTimer;
  readonly #leaseMs: number;
  /** By how much the database's clock is ahead of the monotonic clock; null before the first look. */
  #clockOffsetMs: number | null = null;
  /** By `performance.now()`. */
  #heldUntil = 0;

  constructor({ deadlines, logger }: SessionSweeperParts, { leaseSeconds }: { leaseSeconds: number }) {
    this.#deadlines = deadlines;
    this.#leaseMs = leaseSeconds * 1000;
    this.#timer = new DueTimer({
      what: "the next deadline of a stream's session",
      lookAgainMs: LOOK_AGAIN_MS,
      findNextDueMs: async () => {
        await this.#checkClock();
        const dueMs = await deadlines.findNextDueMs();
        return dueMs === null ? null : Math.max(dueMs, this.#heldUntil - performance.now());
      },
      run: async () => {
        for (const streamId of await deadlines.findDue()) {
          await deadlines.sweep(streamId).catch((error: unknown) => {
            // A stream that somebody keeps locked does not keep the others from being swept.
            if (isConnectionError(error) || isStorageFault(error)) throw error;
            logger.warn({ err: error, streamId }, "a stream's session could not be swept");
          });
        }
      },
      onFailure: () => this.hold(),
      logger,
    });
  }

  /**
   * Sweeps nothing for the length of a lease. After a start or an outage, media servers need that time to report
   * again; otherwise the sweep would end sessions that are live.
   */
  hold(): void {
    this.#heldUntil = performance.now() + this.#leaseMs;
    this.#timer.arm();
  }

  /** A session of this process changed; its time is over in `dueInMs` or later. */
  arm(dueInMs = 0): void {
    this.#timer.arm(dueInMs);
  }

  stop(): void {
    this.#timer.stop();
  }

  async #checkClock(): Promise<void> {
    const offsetMs = (await this.#deadlines.readClock()) - performance.now();
    const stepMs = offsetMs - (this.#clockOffsetMs ?? offsetMs);
    if (stepMs < -STEP_MS) await this.#deadlines.shorten();
    else if (stepMs > STEP_MS) this.#heldUntil = performance.now() + this.#leaseMs;
    this.#clockOffsetMs = offsetMs;
  }
}
