import { randomUUID } from "node:crypto";
import type { Pool } from "../../db/pool.ts";
import { isConnectionError } from "../../db/sqlstate.ts";
import { AppError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import { ANSWER_MS, Late } from "../answer-time.ts";
import type { KeyCache } from "../keys/key-cache.ts";
import type { Claim, ClaimResult } from "./claim.ts";
import { answerUnlocked, readClaims } from "./claim-look-up-sql.ts";
import type { ClaimOutcome, ClaimWriter } from "./claim-writer.ts";

/*
 * Claims that wait for the database, which decides every one of them, many at a time.
 *
 *   to read ──▶ reading ── changes nothing, or is refused ──▶ answered
 *      ▲           └── the rest ──▶ to write ──▶ writing ──▶ answered
 *      │                               │           │ locked by others, or the batch failed
 *      └── another of the same stream ─┘           ▼
 *          was written before it                 alone ──▶ answered
 *
 * While a batch is at the database the next one fills. Wrong keys end with the read, which is cheap: they hold up
 * nobody who writes. One that nobody can write goes alone in the end and fails alone.
 */

/** While one is under way, the next may be. */
const READS_AT_ONCE = 2;
const ALONE_AT_ONCE = 4;
const MAX_READ = 1000;
const MAX_WRITTEN = 500;
/** What comes past it is refused. */
const MAX_WAITING = 50_000;
const DEADLINE_CHECK_MS = 100;

/** The stream is found by the key. */
export type KeyClaim = Omit<Claim, "sessionId" | "streamId" | "keyHash" | "signal">;

interface Waiter {
  /** The key's, in hex. */
  hash: string;
  claim: KeyClaim;
  dueAt: number;
  /** Whether the key turned out to be no longer the stream's once. */
  hasMoved: boolean;
  isSettled: boolean;
  cancel: AbortController | null;
  resolve(result: ClaimResult): void;
  reject(error: unknown): void;
}

interface Writing {
  waiter: Waiter;
  claim: Claim;
}

export interface ClaimQueueParts {
  pool: Pool;
  keys: KeyCache;
  writer: Pick<ClaimWriter, "write" | "writeBatch">;
  logger: Logger;
}

export class ClaimQueue {
  readonly #parts: ClaimQueueParts;
  /** In the order they came, which is that of their deadlines. */
  readonly #waiting = new Set<Waiter>();
  #toRead: Waiter[] = [];
  #toWrite: Writing[] = [];
  #toWriteAlone: Writing[] = [];
  #reads = 0;
  #alone = 0;
  #isWriting = false;
  #isReadDue = false;
  #deadlines: NodeJS.Timeout | null = null;

  constructor(parts: ClaimQueueParts) {
    this.#parts = parts;
  }

  /** `hash` is the key's, in hex. @throws the database's error, Late when time is up; AppError `overloaded` */
  ask(hash: string, claim: KeyClaim): Promise<ClaimResult> {
    return new Promise((resolve, reject) => {
      if (this.#waiting.size >= MAX_WAITING) {
        reject(
          new AppError("overloaded", "More keys wait to be looked at than the server holds.", { retryAfterMs: 1000 }),
        );
        return;
      }
      const dueAt = performance.now() + ANSWER_MS - DEADLINE_CHECK_MS;
      const waiter = { hash, claim, dueAt, hasMoved: false, isSettled: false, cancel: null, resolve, reject };
      this.#waiting.add(waiter);
      this.#deadlines ??= setInterval(() => this.#expire(), DEADLINE_CHECK_MS).unref();
      this.#read(waiter);
    });
  }

  #settle(waiter: Waiter): boolean {
    if (waiter.isSettled) return false;
    waiter.isSettled = true;
    this.#waiting.delete(waiter);
    if (this.#waiting.size === 0 && this.#deadlines !== null) {
      clearInterval(this.#deadlines);
      this.#deadlines = null;
    }
    return true;
  }

  #answer(waiter: Waiter, result: ClaimResult): void {
    if (this.#settle(waiter)) waiter.resolve(result);
  }

  #fail(waiter: Waiter, error: unknown): void {
    if (this.#settle(waiter)) waiter.reject(error);
  }

  #expire(): void {
    const now = performance.now();
    for (const waiter of this.#waiting) {
      if (waiter.dueAt > now) return;
      const late = new Late();
      waiter.cancel?.abort(late);
      this.#fail(waiter, late);
    }
  }

  #read(waiter: Waiter): void {
    this.#toRead.push(waiter);
    this.#scheduleRead();
  }

  /** What comes in the same turn goes into one batch. */
  #scheduleRead(): void {
    if (this.#isReadDue || this.#reads >= READS_AT_ONCE || this.#toRead.length === 0) return;
    this.#isReadDue = true;
    setImmediate(() => {
      this.#isReadDue = false;
      void this.#readBatch(); // never rejects
    });
  }

  async #readBatch(): Promise<void> {
    const batch = this.#toRead.splice(0, MAX_READ).filter(({ isSettled }) => !isSettled);
    this.#reads += 1;
    this.#scheduleRead();
    try {
      if (batch.length > 0) await this.#decideUnlocked(batch);
    } catch (error) {
      for (const waiter of batch) this.#fail(waiter, error);
    }
    this.#reads -= 1;
    this.#scheduleRead();
    void this.#writeBatches(); // never rejects
  }

  async #decideUnlocked(batch: Waiter[]): Promise<void> {
    const { pool, keys } = this.#parts;
    const read = await readClaims(pool, keys, [...new Set(batch.map(({ hash }) => hash))]);
    for (const waiter of batch) {
      const found = read.get(waiter.hash);
      const result = found === undefined ? UNKNOWN : answerUnlocked(found, waiter.claim);
      if (result !== null) this.#answer(waiter, result);
      else if (found !== undefined) this.#toWrite.push(toWriting(waiter, found.known.stream.id));
    }
  }

  /** One after the other. Never rejects. */
  async #writeBatches(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    while (this.#toWrite.length > 0) {
      const { batch, behind } = this.#takeBatch();
      try {
        if (batch.length > 0) await this.#writeBatch(batch);
      } catch (error) {
        if (isConnectionError(error)) for (const { waiter } of batch) this.#fail(waiter, error);
        else {
          this.#parts.logger.warn(
            { err: error, claims: batch.length },
            "a batch of claims failed; each goes by itself",
          );
          for (const writing of batch) this.#writeAlone(writing);
        }
      }
      // What became of the stream may answer them without writing.
      for (const { waiter } of behind) this.#read(waiter);
    }
    this.#isWriting = false;
  }

  /** The oldest, one a stream. */
  #takeBatch(): { batch: Writing[]; behind: Writing[] } {
    const taken = new Map<string, Writing>();
    const behind: Writing[] = [];
    const left: Writing[] = [];
    for (const writing of this.#toWrite) {
      const { streamId } = writing.claim;
      if (writing.waiter.isSettled) continue;
      if (taken.has(streamId)) behind.push(writing);
      else if (taken.size < MAX_WRITTEN) taken.set(streamId, writing);
      else left.push(writing);
    }
    this.#toWrite = left;
    return { batch: [...taken.values()], behind };
  }

  async #writeBatch(batch: Writing[]): Promise<void> {
    const outcomes = await this.#parts.writer.writeBatch(batch.map(({ claim }) => claim));
    for (const [i, writing] of batch.entries()) this.#follow(writing, outcomes[i] as ClaimOutcome);
  }

  #follow(writing: Writing, outcome: ClaimOutcome): void {
    if (outcome.type === "locked") this.#writeAlone(writing);
    else if (outcome.type === "otherBoot") this.#toWrite.push(writing);
    else if (outcome.type === "decided") this.#conclude(writing.waiter, outcome.result);
  }

  #conclude(waiter: Waiter, result: ClaimResult): void {
    // Since it was read, the key may have moved on to another stream, or to none.
    if (!result.valid && result.reason === "unknown" && !waiter.hasMoved) {
      waiter.hasMoved = true;
      this.#read(waiter);
    } else this.#answer(waiter, result);
  }

  #writeAlone(writing: Writing): void {
    this.#toWriteAlone.push(writing);
    if (this.#alone < ALONE_AT_ONCE) void this.#writeEachAlone(); // never rejects
  }

  async #writeEachAlone(): Promise<void> {
    this.#alone += 1;
    for (let next = this.#toWriteAlone.shift(); next !== undefined; next = this.#toWriteAlone.shift()) {
      const { waiter, claim } = next;
      if (waiter.isSettled) continue;
      try {
        this.#conclude(waiter, await this.#parts.writer.write(claim));
      } catch (error) {
        this.#fail(waiter, error);
      }
    }
    this.#alone -= 1;
  }
}

const UNKNOWN: ClaimResult = { valid: false, reason: "unknown" };

function toWriting(waiter: Waiter, streamId: string): Writing {
  waiter.cancel = new AbortController();
  const keyHash = Buffer.from(waiter.hash, "hex");
  const { signal } = waiter.cancel;
  return { waiter, claim: { ...waiter.claim, sessionId: randomUUID(), streamId, keyHash, signal } };
}
