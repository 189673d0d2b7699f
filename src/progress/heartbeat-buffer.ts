import { AppError, toWireError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { endsWithin } from "../within-time.ts";
import { keyOf, mergeInto, type PendingBeat, rowKeyOf } from "./pending-beat.ts";
import { byRow, isWorthRetrying } from "./progress-writer.ts";
import type { WriteResult } from "./split-batch.ts";

/*
 * Holds heartbeats until they are durable: one entry for each (user, file, epoch). Later beats are merged into the entry,
 * and every ack is kept. While one batch is written, the next one fills. The buffer is bounded in number and in time: it
 * refuses what it cannot keep, and never drops a beat in silence. No user may fill it: each has a share of the places, and
 * where more waits than one batch takes, users are served in turns.
 *
 *   idle ── a beat ──▶ flushing ── nothing left ──▶ idle
 *                        │  ▲
 *             transient  ▼  │ after a pause
 *                       waiting (down): where every player was refused and gone, one beat is still tried, so that
 *                       the buffer itself finds out when the database takes writes again
 *   stop(): flushes what is left, refuses what cannot be written, then takes nothing more.
 */

/** Called once: after COMMIT, or with the reason why the beat was not written. */
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
  /** Counts waiting acks, not entries. */
  maxPending: number;
  ackDeadlineMs: number;
}

export interface HeartbeatBufferParts {
  write: (entries: PendingBeat[]) => Promise<WriteResult[]>;
  metrics: Metrics;
  logger: Logger;
}

const FIRST_RETRY_MS = 50;
const LAST_RETRY_MS = 500;
const DEADLINE_CHECK_MS = 250;
/** A user may hold one of so many parts of the places. */
const SHARES = 10;
/** The least share of a user, for small buffers. */
const MIN_SHARE = 4;

export class HeartbeatBuffer {
  readonly #parts: HeartbeatBufferParts;
  readonly #options: HeartbeatBufferOptions;
  #entries = new Map<string, Entry>();
  #inFlight: Entry[] = [];
  #pending = 0;
  /** Waiting acks by user. */
  readonly #pendingOf = new Map<string, number>();
  #running: Promise<void> | null = null;
  #deadlines: NodeJS.Timeout | null = null;
  #lastFlushAt = Number.NEGATIVE_INFINITY;
  /** When writing began to fail, by the monotonic clock; null while writing works. */
  #downSince: number | null = null;
  #stopping = false;
  /** Acks that were refused since `stop` was called. */
  #refusedAtStop = 0;

  constructor(parts: HeartbeatBufferParts, options: HeartbeatBufferOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  /** The number of waiting acks. */
  get pending(): number {
    return this.#pending;
  }

  /** Whether the last try to write failed. */
  get isDown(): boolean {
    return this.#downSince !== null;
  }

  /** How full the buffer is, 0 to 1. Players are asked to send less often as it fills. */
  get load(): number {
    return this.#downSince === null ? this.#pending / this.#options.maxPending : 1;
  }

  /** Takes a heartbeat; `settle` is called when it is durable or refused. */
  add(beat: PendingBeat, settle: Settle): void {
    const refusal = this.#refusal(beat.userId);
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
    this.#changePending(beat.userId, 1);
    this.#running ??= this.#run();
    this.#deadlines ??= setInterval(() => this.#expire(), DEADLINE_CHECK_MS).unref();
  }

  #refusal(userId: string): AppError | null {
    if (this.#stopping)
      return new AppError("unavailable", "The server is stopping; connect again.", { retryAfterMs: 1000 });
    const { maxPending } = this.#options;
    if (this.#pending >= maxPending) {
      return overloaded("More heartbeats are waiting than the server holds; send it again later.");
    }
    if ((this.#pendingOf.get(userId) ?? 0) >= Math.max(MIN_SHARE, Math.ceil(maxPending / SHARES))) {
      return overloaded("More heartbeats of this user are waiting than the server holds of one; send it again later.");
    }
    if (this.#downSince === null || performance.now() - this.#downSince <= this.#options.ackDeadlineMs) return null;
    // One beat at a time waits, and takes over the trying: what failed may be the row of the beat before alone.
    return this.#pending > 0 ? databaseAway() : null;
  }

  async #run(): Promise<void> {
    while (this.#entries.size > 0) {
      const waitMs = this.#lastFlushAt + this.#options.flushIntervalMs - performance.now();
      if (waitMs > 0 && !this.#stopping) await pause(waitMs);
      // Beats that arrive in the same turn, as those of one call do, go into one batch.
      else await new Promise((resolve) => setImmediate(resolve));
      this.#lastFlushAt = performance.now();
      this.#inFlight = this.#takeBatch();
      await this.#flush();
    }
    this.#running = null;
    if (this.#deadlines !== null) clearInterval(this.#deadlines);
    this.#deadlines = null;
  }

  /** All entries, the oldest first. Where not all fit into one batch: one of each user, then the next of each user. */
  #inTurns(): Iterable<[string, Entry]> {
    if (this.#entries.size <= this.#options.maxBatch) return this.#entries;
    return inTurns(this.#entries, ([, { beat }]) => beat.userId);
  }

  /** Takes the first entries, at most one for each row; other entries of the row wait for the next batch. */
  #takeBatch(): Entry[] {
    const batch: Entry[] = [];
    const rows = new Set<string>();
    for (const [key, entry] of this.#inTurns()) {
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
        this.#setUp();
        this.#inFlight = [];
        for (const [i, entry] of batch.entries()) this.#settle(entry, results[i] as WriteResult);
      } catch (error) {
        if (!isWorthRetrying(error)) {
          this.#parts.logger.error({ err: error }, "a batch of heartbeats could not be written");
          this.#setUp();
          this.#inFlight = [];
          const failure = new AppError("internal", toWireError(error).message, { cause: error });
          for (const entry of batch) this.#settle(entry, { type: "failed", error: failure });
          return;
        }
        this.#setDown(error, batch.length);
        await pause(retryMs * (0.5 + Math.random()));
        retryMs = Math.min(LAST_RETRY_MS, retryMs * 2);
        this.#inFlight = this.#worthTrying(this.#inFlight);
      }
    }
  }

  /**
   * Entries without waiters were refused; their players send them again. Where there are no others, one of them is tried
   * on: to write it does no harm.
   */
  #worthTrying(entries: Entry[]): Entry[] {
    const waiting = entries.filter((entry) => entry.waiters.length > 0);
    if (waiting.length > 0 || this.#entries.size > 0 || this.#stopping) return waiting;
    return entries.slice(0, 1);
  }

  #setDown(error: unknown, rows: number): void {
    this.#parts.metrics.flushRetries.inc({ sqlstate: String((error as { code?: unknown }).code ?? "none") });
    // One line a state, not a try.
    const level = this.#downSince === null ? "warn" : "debug";
    this.#downSince ??= performance.now();
    this.#parts.logger[level]({ err: error, rows }, "a batch of heartbeats waits for the database");
  }

  #setUp(): void {
    if (this.#downSince === null) return;
    const seconds = Math.round((performance.now() - this.#downSince) / 1000);
    this.#downSince = null;
    this.#parts.logger.info({ seconds }, "heartbeats are written again");
  }

  #settle(entry: Entry, result: WriteResult): void {
    this.#changePending(entry.beat.userId, -entry.waiters.length);
    for (const waiter of entry.waiters.splice(0)) this.#answer(waiter, result);
  }

  #answer(waiter: Waiter, result: WriteResult): void {
    try {
      waiter.settle(result);
    } catch (error) {
      // Its beat is durable or refused all the same, and the other beats must be answered.
      this.#parts.logger.error({ err: error }, "a heartbeat could not be answered");
    }
  }

  /** Refuses acks past their deadline. A running flush may still write their beats, which does no harm. */
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
    this.#changePending(entry.beat.userId, -late.length);
    if (this.#stopping) this.#refusedAtStop += late.length;
    const error = databaseAway();
    for (const waiter of late) this.#answer(waiter, { type: "failed", error });
  }

  #changePending(userId: string, change: number): void {
    this.#parts.metrics.pending.inc(change);
    this.#pending += change;
    const pending = (this.#pendingOf.get(userId) ?? 0) + change;
    if (pending > 0) this.#pendingOf.set(userId, pending);
    else this.#pendingOf.delete(userId);
  }

  /** Accepts no more beats. Resolves with the number of refused acks when every waiting beat was written or refused. */
  async stop(timeoutMs: number): Promise<number> {
    this.#stopping = true;
    const waiting = this.#running;
    if (waiting !== null) await endsWithin(waiting, timeoutMs);
    const left = [...this.#inFlight, ...this.#entries.values()];
    this.#entries.clear();
    this.#inFlight = [];
    const refused = left.reduce((count, entry) => count + entry.waiters.length, this.#refusedAtStop);
    for (const entry of left) this.#settle(entry, { type: "failed", error: databaseAway() });
    if (this.#deadlines !== null) clearInterval(this.#deadlines);
    return refused;
  }
}

/** The first item of each group, then the second of each, and so on. */
function* inTurns<T>(items: Iterable<T>, groupOf: (item: T) => string): Iterable<T> {
  const groups = new Map<string, T[]>();
  for (const item of items) {
    const group = groups.get(groupOf(item));
    if (group === undefined) groups.set(groupOf(item), [item]);
    else group.push(item);
  }
  let left = [...groups.values()];
  for (let turn = 0; left.length > 0; turn++) {
    left = left.filter((group) => group.length > turn);
    for (const group of left) yield group[turn] as T;
  }
}

function overloaded(message: string): AppError {
  return new AppError("overloaded", message, { retryAfterMs: 2000 + Math.random() * 3000 });
}

function databaseAway(): AppError {
  return new AppError("unavailable", "The database is away; send it again later.", {
    retryAfterMs: 1000 + Math.random() * 2000,
  });
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
