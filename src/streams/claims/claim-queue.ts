import { randomUUID } from "node:crypto";
import type { Pool } from "../../db/pool.ts";
import { isConnectionError, isStorageFault } from "../../db/sqlstate.ts";
import type { Logger } from "../../logger.ts";
import type { KeyCache } from "../keys/key-cache.ts";
import type { Claim, ClaimResult } from "./claim.ts";
import { lookUpStreams } from "./claim-look-up-sql.ts";
import { ClaimWaiters, type KeyClaim, type Waiter } from "./claim-waiters.ts";
import type { ClaimOutcome, ClaimWriter } from "./claim-writer.ts";
import { answerUnlocked } from "./unlocked-answer.ts";

/*
 * Batches claims on their way to the database, which decides every one of them.
 *
 *   look up ──▶ refused, or changes nothing ──▶ answered
 *    ▲    └──▶ write in a batch ──▶ answered
 *    │                │        └── the stream is locked, or the batch failed ──▶ write alone ──▶ answered
 *    └────────────────┘ another claim of the same stream is in this batch
 *
 * While one batch is at the database, the next one fills. Wrong keys end with the look-up, which is cheap, so they do
 * not hold up claims that write. A claim that cannot be written ends up alone, and fails alone.
 */

const LOOK_UPS_AT_ONCE = 2;
/** Fewer claims than this wait for the look-up under way. A second look-up beside it would cost all others more time than it saves these. */
const MIN_SECOND_LOOK_UP = 16;
const ALONE_AT_ONCE = 4;
const MAX_LOOKED_UP = 1000;
const MAX_WRITTEN = 500;

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
  readonly #waiters = new ClaimWaiters();
  #toLookUp: Waiter[] = [];
  #toWrite: Writing[] = [];
  readonly #toWriteAlone: Writing[] = [];
  #lookUps = 0;
  #isLookUpDue = false;
  #isWriting = false;
  #alone = 0;

  constructor(parts: ClaimQueueParts) {
    this.#parts = parts;
  }

  /** `hash` is the key's, in hex. @throws the database's error; DatabaseLate when time is up; AppError `overloaded` */
  ask(hash: string, claim: KeyClaim): Promise<ClaimResult> {
    return this.#waiters.wait(hash, claim, this.#lookUp);
  }

  readonly #lookUp = (waiter: Waiter): void => {
    this.#toLookUp.push(waiter);
    this.#scheduleLookUp();
  };

  /** All claims of the same turn of the event loop go into one batch. */
  #scheduleLookUp(): void {
    const waiting = this.#toLookUp.length;
    if (this.#isLookUpDue || waiting === 0 || this.#lookUps >= LOOK_UPS_AT_ONCE) return;
    if (this.#lookUps > 0 && waiting < MIN_SECOND_LOOK_UP) return;
    this.#isLookUpDue = true;
    setImmediate(() => {
      this.#isLookUpDue = false;
      void this.#lookUpBatch(); // never rejects
    });
  }

  async #lookUpBatch(): Promise<void> {
    const batch = this.#toLookUp.splice(0, MAX_LOOKED_UP).filter(({ isSettled }) => !isSettled);
    this.#lookUps += 1;
    this.#scheduleLookUp();
    try {
      if (batch.length > 0) await this.#answerUnlocked(batch);
    } catch (error) {
      for (const waiter of batch) this.#waiters.fail(waiter, error);
    }
    this.#lookUps -= 1;
    this.#scheduleLookUp();
    void this.#writeBatches(); // never rejects
  }

  async #answerUnlocked(batch: Waiter[]): Promise<void> {
    const { pool, keys } = this.#parts;
    const streams = await lookUpStreams(pool, keys, [...new Set(batch.map(({ hash }) => hash))]);
    for (const waiter of batch) {
      const found = streams.get(waiter.hash);
      const result = found === undefined ? UNKNOWN : answerUnlocked(found, waiter.claim);
      if (result !== null) this.#waiters.answer(waiter, result);
      else if (found !== undefined) this.#toWrite.push(toWriting(waiter, found.known.stream.id));
    }
  }

  /** One batch after the other. Never rejects. */
  async #writeBatches(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    while (this.#toWrite.length > 0) {
      const { batch, behind } = this.#takeBatch();
      try {
        if (batch.length > 0) await this.#writeBatch(batch);
      } catch (error) {
        if (isConnectionError(error) || isStorageFault(error))
          for (const { waiter } of batch) this.#waiters.fail(waiter, error);
        else {
          const { logger } = this.#parts;
          logger.warn({ err: error, claims: batch.length }, "a batch of claims failed; each is written by itself");
          for (const writing of batch) this.#writeAlone(writing);
        }
      }
      // The claim before them may have changed the stream, so that a look-up answers them.
      for (const { waiter } of behind) this.#lookUp(waiter);
    }
    this.#isWriting = false;
  }

  /** The oldest claims, one a stream; `behind` are further claims of these streams. */
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
    for (const [i, writing] of batch.entries()) this.#conclude(writing, outcomes[i] as ClaimOutcome);
  }

  #conclude(writing: Writing, outcome: ClaimOutcome): void {
    if (outcome.type === "decided") this.#answerWritten(writing.waiter, outcome.result);
    else if (outcome.type === "locked") this.#writeAlone(writing);
    else if (outcome.type === "otherBoot") this.#toWrite.push(writing);
    // An abandoned claim's waiter has been told that time is up.
  }

  #answerWritten(waiter: Waiter, result: ClaimResult): void {
    // Since the look-up the key may have moved to another stream, or to none.
    if (!result.valid && result.reason === "unknown" && !waiter.hasMoved) {
      waiter.hasMoved = true;
      this.#lookUp(waiter);
    } else this.#waiters.answer(waiter, result);
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
        this.#answerWritten(waiter, await this.#parts.writer.write(claim));
      } catch (error) {
        this.#waiters.fail(waiter, error);
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
