import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { BATCH_SIZE, type FirestoreMirror } from "./firestore-mirror.ts";
import { stepPass } from "./full-pass.ts";
import { readBacklog, readRows, settleBacklog } from "./journal.ts";
import { adopt, hold, loadState, type MirrorState, switchOn } from "./mirror-state.ts";
import { mirrorDeletions, restoreDeletions } from "./mirrored-deletions.ts";
import { codeOf, writeChanges } from "./write-changes.ts";

/*
 * Brings the mirror up to date with the database, in one process at a time: the one that was elected.
 *
 *   idle ──(start)──▶ waiting ──▶ following ──(stop)──▶ idle
 *                                    │     ▲
 *                                    ▼     │ a failure, longer each time
 *                                   backing off
 *
 * It does one thing after another, and reads each row right before it writes it. So an earlier state of a row never
 * replaces a later one in the mirror. After a failure it does the same keys again.
 */

/** Different keys in one round. */
const MAX_KEYS = 20_000;
const FIRST_BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 60_000;
/**
 * As long as a call to Firestore may take: after this time the last write of another follower has arrived, or never
 * will.
 */
const TAKEOVER_MS = 10_000;

export interface FollowerParts {
  pool: Pool;
  mirror: FirestoreMirror;
  metrics: Metrics;
  logger: Logger;
}

export interface FollowerOptions {
  /** The shortest time between two rounds. A row that changes several times meanwhile is written once. */
  intervalMs: number;
  takeoverMs?: number;
  firstBackoffMs?: number;
}

export class MirrorFollower {
  readonly #parts: FollowerParts;
  readonly #options: Required<FollowerOptions>;
  #running: { abort: AbortController; done: Promise<void> } | null = null;
  #backoffMs = 0;
  #isHeld = false;

  constructor(parts: FollowerParts, options: FollowerOptions) {
    this.#parts = parts;
    this.#options = { takeoverMs: TAKEOVER_MS, firstBackoffMs: FIRST_BACKOFF_MS, ...options };
  }

  /** Begins to follow, after TAKEOVER_MS. */
  start(): void {
    const abort = new AbortController();
    const before = this.#running?.done;
    this.#running = { abort, done: this.#run(abort.signal, before) };
    this.#parts.metrics.mirrorActive.set(1);
  }

  /** Ends following. Resolves when nothing is under way any more; never rejects. */
  async stop(): Promise<void> {
    this.#parts.metrics.mirrorActive.set(0);
    this.#running?.abort.abort();
    await this.#running?.done;
  }

  /** Never rejects. */
  async #run(signal: AbortSignal, before: Promise<void> | undefined): Promise<void> {
    const { metrics, logger } = this.#parts;
    await before;
    await pause(this.#options.takeoverMs, signal);
    while (!signal.aborted) {
      try {
        const isLevel = await this.#round(signal);
        this.#backoffMs = 0;
        if (isLevel) await pause(this.#options.intervalMs, signal);
      } catch (error) {
        if (signal.aborted) return;
        metrics.mirrorFailures.inc({ code: codeOf(error) });
        this.#backoffMs = Math.min(MAX_BACKOFF_MS, Math.max(this.#options.firstBackoffMs, this.#backoffMs * 2));
        logger.warn(
          { err: error, againInMs: this.#backoffMs },
          "the mirror could not be brought up to date; trying again",
        );
        await pause(this.#backoffMs * (0.75 + Math.random() / 2), signal);
      }
    }
  }

  /** Returns whether nothing is left to do for now. */
  async #round(signal: AbortSignal): Promise<boolean> {
    const { pool } = this.#parts;
    const parts = { ...this.#parts, signal };
    const state = await this.#prepare();
    if (state === null) return true;
    const isDrained = await this.#follow(signal, state.cursor);
    await mirrorDeletions(parts);
    if (state.pass !== null) await stepPass(parts, state);
    return isDrained && (await loadState(pool)).pass === null;
  }

  /** Makes sure that this database and the mirror belong together. Null while an operator has to decide. */
  async #prepare(): Promise<MirrorState | null> {
    const { pool, mirror, logger } = this.#parts;
    await switchOn(pool);
    const state = await loadState(pool);
    const project = mirror.projectId;
    if (state.isSameDatabase === null) {
      if (await mirror.isEmpty()) await adopt(pool, { project, pass: "write", deleteUnknown: false });
      else {
        if (!state.held) await hold(pool);
        // To follow would write the rows of this database over the only copy of another database.
        logger[this.#isHeld ? "debug" : "error"](
          "nothing is mirrored: Firestore has progress of another database. `playhead backup restore` brings that progress here, `playhead backup replay` writes this database over it",
        );
        this.#isHeld = true;
        return null;
      }
    } else if (!state.isSameDatabase || state.project !== project) {
      logger.warn(
        "the mirror followed another database before (this one was restored, or took over): comparing all rows",
      );
      // Deletions that this database has lost.
      const users = await restoreDeletions({ pool, mirror });
      if (users > 0)
        logger.warn({ users }, "users were deleted again, whom this database had from before their deletion");
      await adopt(pool, { project, pass: "check", deleteUnknown: false });
    } else return state;
    return loadState(pool);
  }

  /** Mirrors the keys in the journal. Returns whether only running transactions may have left more. */
  async #follow(signal: AbortSignal, cursor: string): Promise<boolean> {
    const { pool } = this.#parts;
    const backlog = await readBacklog(pool, cursor, MAX_KEYS);
    const parts = { ...this.#parts, signal };
    for (let i = 0; i < backlog.keys.length; i += BATCH_SIZE) {
      signal.throwIfAborted();
      const keys = backlog.keys.slice(i, i + BATCH_SIZE);
      const rows = await readRows(pool, keys);
      await writeChanges(
        parts,
        keys.map((key, j) => ({ ...key, row: rows[j] ?? null })),
      );
    }
    await settleBacklog(pool, backlog);
    return backlog.isDrained;
  }
}

/** Waits; ends early when the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
