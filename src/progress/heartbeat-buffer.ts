import { AppError, toWireError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { keyOf, mergeInto, type PendingBeat, rowKeyOf } from "./pending-beat.ts";
import { byRow, isWorthRetrying } from "./progress-writer.ts";
import type { WriteResult } from "./split-batch.ts";

/*
 * Holds heartbeats until they are durable: one entry per (user, file, epoch), later beats merged into it, every ack
 * kept. Group commit: while a flush runs the next batch fills. Bounded in number and in time; what cannot be kept is
 * refused, never dropped in silence.
 *
 *   idle ── a beat ──▶ flushing ── nothing left ──▶ idle
 *                        │  ▲
 *             transient  ▼  │ after a pause
 *                       waiting
 *   stop(): flushes what is left, refuses what cannot be written, then takes nothing more.
 */

/** Called once, after COMMIT or with the reason why not. */
export type Settle = (result: WriteResult) => void;

interface Waiter {
  settle: Settle;
  deadlineAt: number;
}

interface Entry {
  beat: PendingBeat;
  waiters: Waiter[];
}

export interface HeartbeatBufferOptions {
  flushIntervalMs: number;
  maxBatch: number;
  /** Waiting acks, not entries. */
  maxPending: number;
  ackDeadlineMs: number;
}

export interface HeartbeatBufferParts {
  write: (entries: PendingBeat[]) => Promise<WriteResult[]>;
  metrics: Metrics;
  logger: Logger;
}

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 1000;
const DEADLINE_CHECK_MS = 250;

export class HeartbeatBuffer {
  readonly #parts: HeartbeatBufferParts;
  readonly #options: HeartbeatBufferOptions;
  #entries = new Map<string, Entry>();
  #inFlight: Entry[] = [];
  #pending = 0;
  #running: Promise<void> | null = null;
  #deadlines: NodeJS.Timeout | null = null;
  #lastFlushAt = Number.NEGATIVE_INFINITY;
  /** Since when writing fails; null while it works. */
  #downSince: number | null = null;
  #stopping = false;
  /** Refused since the stop began. */
  #refusedAtStop = 0;

  constructor(parts: HeartbeatBufferParts, options: HeartbeatBufferOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** Acks that wait. */
  get pending(): number {
    return this.#pending;
  }

  /** How full the buffer is, 0 to 1: the cadence asked of players follows it. */
  get load(): number {
    return this.#downSince === null ? this.#pending / this.#options.maxPending : 1;
  }

  /** Takes a heartbeat; `settle` is called when it is durable or refused. */
  add(beat: PendingBeat, settle: Settle): void {
    const refusal = this.#refusal();
    if (refusal !== null) {
      settle({ type: "failed", error: refusal });
      return;
    }
    const key = keyOf(beat);
    const waiter = { settle, deadlineAt: performance.now() + this.#options.ackDeadlineMs };
    const entry = this.#entries.get(key);
    if (entry === undefined) this.#entries.set(key, { beat, waiters: [waiter] });
    else {
      mergeInto(entry.beat, beat);
      entry.waiters.push(waiter);
    }
    this.#setPending(this.#pending + 1);
    this.#running ??= this.#run();
    this.#deadlines ??= setInterval(() => this.#expire(), DEADLINE_CHECK_MS).unref();
  }

  #refusal(): AppError | null {
    if (this.#stopping)
      return new AppError("unavailable", "The server is stopping; connect again.", { retryAfterMs: 1000 });
    if (this.#pending >= this.#options.maxPending) {
      return new AppError("overloaded", "More heartbeats are waiting than the server holds; send it again later.", {
        retryAfterMs: 2000 + Math.random() * 3000,
      });
    }
    // While a flush goes on trying. Where nothing waits any more, the next heartbeat finds out whether the database is back.
    if (this.#running === null || this.#downSince === null) return null;
    return performance.now() - this.#downSince > this.#options.ackDeadlineMs ? databaseAway() : null;
  }

  async #run(): Promise<void> {
    while (this.#entries.size > 0) {
      const waitMs = this.#lastFlushAt + this.#options.flushIntervalMs - performance.now();
      if (waitMs > 0 && !this.#stopping) await pause(waitMs);
      // What came in the same turn, as the beats of one call do, goes into one batch.
      else await new Promise((resolve) => setImmediate(resolve));
      this.#lastFlushAt = performance.now();
      this.#inFlight = this.#takeBatch();
      await this.#flush();
    }
    this.#running = null;
    if (this.#deadlines !== null) clearInterval(this.#deadlines);
    this.#deadlines = null;
  }

  /** The oldest entries, at most one a row: what else the row has waits for the next batch. */
  #takeBatch(): Entry[] {
    const batch: Entry[] = [];
    const rows = new Set<string>();
    for (const [key, entry] of this.#entries) {
      const row = rowKeyOf(entry.beat);
      if (rows.has(row)) continue;
      rows.add(row);
      batch.push(entry);
      this.#entries.delete(key);
      if (batch.length >= this.#options.maxBatch) break;
    }
    return batch.sort((a, b) => byRow(a.beat, b.beat));
  }

  async #flush(): Promise<void> {
    let retryMs = FIRST_RETRY_MS;
    while (this.#inFlight.length > 0) {
      const batch = this.#inFlight;
      try {
        const results = await this.#parts.write(batch.map((entry) => entry.beat));
        this.#downSince = null;
        this.#inFlight = [];
        for (const [i, entry] of batch.entries()) this.#settle(entry, results[i] as WriteResult);
      } catch (error) {
        if (!isWorthRetrying(error)) {
          this.#parts.logger.error({ err: error }, "a batch of heartbeats could not be written");
          this.#inFlight = [];
          const failure = new AppError("internal", toWireError(error).message, { cause: error });
          for (const entry of batch) this.#settle(entry, { type: "failed", error: failure });
          return;
        }
        this.#downSince ??= performance.now();
        this.#parts.metrics.flushRetries.inc({ sqlstate: String((error as { code?: unknown }).code ?? "none") });
        this.#parts.logger.warn({ err: error, rows: batch.length }, "a batch of heartbeats waits for the database");
        await pause(retryMs * (0.5 + Math.random()));
        retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
        // What nobody waits for any more was refused, and its player sends it again.
        this.#inFlight = this.#inFlight.filter((entry) => entry.waiters.length > 0);
      }
    }
  }

  #settle(entry: Entry, result: WriteResult): void {
    this.#setPending(this.#pending - entry.waiters.length);
    for (const waiter of entry.waiters.splice(0)) waiter.settle(result);
  }

  /** Refuses what has waited past its deadline. A flush under way may still write it, which changes nothing. */
  #expire(): void {
    const now = performance.now();
    for (const entry of this.#inFlight) this.#expireEntry(entry, now);
    for (const [key, entry] of this.#entries) {
      this.#expireEntry(entry, now);
      if (entry.waiters.length === 0) this.#entries.delete(key);
    }
  }

  #expireEntry(entry: Entry, now: number): void {
    const late = entry.waiters.filter((waiter) => waiter.deadlineAt <= now);
    if (late.length === 0) return;
    entry.waiters = entry.waiters.filter((waiter) => waiter.deadlineAt > now);
    this.#setPending(this.#pending - late.length);
    if (this.#stopping) this.#refusedAtStop += late.length;
    const error = databaseAway();
    for (const waiter of late) waiter.settle({ type: "failed", error });
  }

  #setPending(pending: number): void {
    this.#parts.metrics.pending.inc(pending - this.#pending);
    this.#pending = pending;
  }

  /** Takes nothing more, and resolves when all that waited is written or refused. Returns how many were refused. */
  async stop(timeoutMs: number): Promise<number> {
    this.#stopping = true;
    const waiting = this.#running;
    if (waiting !== null) await Promise.race([waiting, pause(timeoutMs)]);
    const left = [...this.#inFlight, ...this.#entries.values()];
    this.#entries.clear();
    this.#inFlight = [];
    const refused = left.reduce((count, entry) => count + entry.waiters.length, this.#refusedAtStop);
    for (const entry of left) this.#settle(entry, { type: "failed", error: databaseAway() });
    if (this.#deadlines !== null) clearInterval(this.#deadlines);
    return refused;
  }
}

function databaseAway(): AppError {
  return new AppError("unavailable", "The database is away; send it again later.", {
    retryAfterMs: 1000 + Math.random() * 2000,
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
