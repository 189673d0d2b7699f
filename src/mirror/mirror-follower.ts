import { setTimeout as delay } from "node:timers/promises";
import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { BATCH_SIZE, type FirestoreMirror } from "./firestore-mirror.ts";
import { stepPass } from "./full-pass.ts";
import { readBacklog, readRows, settleBacklog } from "./journal.ts";
import { adopt, hold, loadState, type MirrorState, switchOn } from "./mirror-state.ts";
import { codeOf, writeChanges } from "./write-changes.ts";

/*
 * Keeps the mirror up with the database, in one process at a time: whoever holds the lock.
 *
 *   idle ──(elected)──▶ waiting ──▶ following ──(dismissed | stopped)──▶ idle
 *                                    │     ▲
 *                                    ▼     │ a failure, longer each time
 *                                   backing off
 *
 * One thing after the other, and each row is read right before it is written: so of one row a later state never reaches
 * the mirror before an earlier one. What fails in between is done again.
 */

/** Different keys taken from the journal at once. */
const MAX_KEYS = 20_000;
const FIRST_BACKOFF_MS = 1000;
const MAX_BACKOFF_MS = 60_000;
/** As long as a call to Firestore may take: what the follower before sent last has arrived by then, or never will. */
const TAKEOVER_MS = 10_000;

export interface FollowerParts {
  pool: Pool;
  mirror: FirestoreMirror;
  metrics: Metrics;
  logger: Logger;
}

export interface FollowerOptions {
  /** The shortest time between two rounds: what changes more often is written once. */
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

  /** For whoever was elected. */
  takeUp(): void {
    const abort = new AbortController();
    const before = this.#running?.done;
    this.#running = { abort, done: this.#run(abort.signal, before) };
    this.#parts.metrics.mirrorActive.set(1);
  }

  /** Resolves when nothing is under way any more. */
  async layDown(): Promise<void> {
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
        logger.warn({ err: error, againInMs: this.#backoffMs }, "the mirror could not be kept up; trying again");
        await pause(this.#backoffMs * (0.75 + Math.random() / 2), signal);
      }
    }
  }

  /** Whether nothing is left to do for now. */
  async #round(signal: AbortSignal): Promise<boolean> {
    const { pool } = this.#parts;
    const parts = { ...this.#parts, signal };
    const state = await this.#prepare();
    if (state === null) return true;
    const isDrained = await this.#follow(signal, state.cursor);
    if (state.pass !== null) await stepPass(parts, state);
    return isDrained && (await loadState(pool)).pass === null;
  }

  /** Sees to it that this database and the mirror belong together; null while somebody has to decide. */
  async #prepare(): Promise<MirrorState | null> {
    const { pool, mirror, logger } = this.#parts;
    await switchOn(pool);
    const state = await loadState(pool);
    const project = mirror.projectId;
    if (state.isSameDatabase === null) {
      if (await mirror.isEmpty()) await adopt(pool, { project, pass: "write", deleteUnknown: false });
      else {
        if (!state.held) await hold(pool);
        // Following would write this database's few rows over the only copy of another's.
        logger[this.#isHeld ? "debug" : "error"](
          "nothing is mirrored: Firestore has progress that this database never had. `playhead backup restore` brings it here, `playhead backup replay` goes on without it",
        );
        this.#isHeld = true;
        return null;
      }
    } else if (!state.isSameDatabase || state.project !== project) {
      logger.warn(
        "the database is another one than the mirror followed, restored or failed over: comparing everything",
      );
      await adopt(pool, { project, pass: "check", deleteUnknown: false });
    } else return state;
    return loadState(pool);
  }

  /** Whether the journal is empty, but for what still runs. */
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

/** Ends early when the signal comes. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await delay(ms, undefined, { signal, ref: false }).catch(() => undefined);
}
