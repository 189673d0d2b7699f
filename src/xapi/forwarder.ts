import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { PostOutcome, RecordStore } from "./record-store.ts";
import { type Names, type StatementRow, toStatement } from "./statement.ts";
import type { StatementQueue } from "./statement-queue.ts";

/*
 * Sends what is queued to the learning record store, one POST after another, so that each learner's statements arrive in their
 * order. A POST that is cut off is made again with the same ids.
 *
 *   refused by the store:  halved until one statement is alone; that one is put aside
 *   the store fails:       pause, and less in the next POST, down to one statement
 *   it fails over one statement again and again: another one is tried; if that is taken, and the store fails over the first
 *                          one once more, it is put aside
 *   it refuses one after another: pause as if it failed. More likely than so many bad statements is a wrong address
 */

export interface ForwarderOptions {
  /** How long an empty queue is left alone. */
  lookMs: number;
  /** The pause after the first failure. Each further one doubles it, up to `maxPauseMs`. */
  pauseMs: number;
  maxPauseMs: number;
}

export interface ForwarderParts {
  queue: StatementQueue;
  store: RecordStore;
  names: Names;
  metrics: Pick<Metrics, "lrsRequests">;
  logger: Logger;
}

/** About half a megabyte where every learner has watched in 128 pieces. */
const MAX_STATEMENTS = 100;
/** So many failures over one statement, before another one is tried. */
const SUSPECT_AFTER = 6;
/** So many refusals, with nothing taken in between, before the forwarder pauses. */
const REFUSALS_IN_A_ROW = 20;

export class Forwarder {
  readonly #parts: ForwarderParts;
  readonly #options: ForwarderOptions;
  #stopping = new AbortController();
  #running: Promise<void> = Promise.resolve();
  /** Statements in the next POST. */
  #limit = MAX_STATEMENTS;
  /** Failures since something was taken or refused. */
  #failures = 0;
  #refusals = 0;
  /** The statement that the store fails over, alone, and how often it has. */
  #suspect = { seq: "", failures: 0 };

  constructor(parts: ForwarderParts, options: ForwarderOptions) {
    this.#parts = parts;
    this.#options = options;
  }

  start(): void {
    const before = this.#running;
    this.#stopping = new AbortController();
    const { signal } = this.#stopping;
    this.#running = before.then(() => this.#run(signal));
  }

  /** Cuts the POST under way off; it is made again later. Never rejects. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
  }

  /** Never rejects. */
  async #run(signal: AbortSignal): Promise<void> {
    let errors = 0;
    while (!signal.aborted) {
      let pauseMs: number;
      try {
        pauseMs = await this.#round(signal);
        errors = 0;
      } catch (error) {
        errors += 1;
        if (errors === 1 && !signal.aborted)
          this.#parts.logger.warn({ err: error }, "the queue of xAPI statements could not be read or written");
        // Longer and longer: a commit that a standby holds up keeps its connection.
        pauseMs = this.#pauseAfter(errors);
      }
      if (pauseMs > 0) await delay(pauseMs, undefined, { signal, ref: false }).catch(() => undefined);
    }
  }

  /** @returns the pause before the next round, in ms */
  async #round(signal: AbortSignal): Promise<number> {
    const statements = await this.#parts.queue.first(this.#limit);
    if (statements.length === 0) return this.#options.lookMs;
    const failed = await this.#deliver(statements, signal);
    if (signal.aborted) return 0;
    if (failed === null) {
      this.#limit = Math.min(MAX_STATEMENTS, this.#limit * 2);
      return this.#refusals >= REFUSALS_IN_A_ROW ? this.#pauseAfter(this.#refusals - REFUSALS_IN_A_ROW + 1) : 0;
    }
    this.#failures += 1;
    this.#limit = Math.max(1, Math.floor(this.#limit / 4));
    if (this.#failures === 1)
      this.#parts.logger.warn({ error: failed.error }, "the learning record store takes nothing");
    const [first] = statements as [StatementRow];
    if (statements.length === 1 && failed.isAnswered && (await this.#isAlone(first, signal))) return 0;
    return Math.max(failed.retryAfterMs, this.#pauseAfter(this.#failures));
  }

  #pauseAfter(failures: number): number {
    return Math.min(this.#options.maxPauseMs, this.#options.pauseMs * 2 ** Math.min(failures - 1, 20));
  }

  /** @returns null once each statement was taken or put aside; what the store failed with, if it did */
  async #deliver(statements: readonly StatementRow[], signal: AbortSignal): Promise<Failed | null> {
    const { queue, metrics } = this.#parts;
    const outcome = await this.#post(statements, signal);
    if (signal.aborted && outcome.type !== "taken") return null;
    metrics.lrsRequests.inc({ outcome: outcome.type });
    if (outcome.type === "failed") return outcome;
    this.#failures = 0;
    const [first] = statements as [StatementRow];
    if (outcome.type === "taken" || (statements.length === 1 && outcome.conflict)) {
      this.#refusals = 0;
      await queue.taken(statements);
      return null;
    }
    if (statements.length === 1) {
      this.#refusals += 1;
      await this.#putAside(first, outcome.error);
      return null;
    }
    const half = Math.ceil(statements.length / 2);
    return (
      (await this.#deliver(statements.slice(0, half), signal)) ?? (await this.#deliver(statements.slice(half), signal))
    );
  }

  /** Finds out whether the store fails over this statement alone. @returns whether it was put aside or taken */
  async #isAlone(statement: StatementRow, signal: AbortSignal): Promise<boolean> {
    const { queue } = this.#parts;
    const failures = this.#suspect.seq === statement.seq ? this.#suspect.failures + 1 : 1;
    this.#suspect = { seq: statement.seq, failures };
    if (failures < SUSPECT_AFTER) return false;
    const another = await queue.another(statement);
    if (another === null || (await this.#post([another], signal)).type !== "taken") return false;
    await queue.taken([another]);
    // The store may have come back just now, for all statements.
    const again = await this.#deliver([statement], signal);
    if (signal.aborted || again?.isAnswered === false) return false;
    if (again !== null) await this.#putAside(statement, again.error);
    this.#failures = 0;
    return true;
  }

  #post(statements: readonly StatementRow[], signal: AbortSignal): Promise<PostOutcome> {
    const { store, names } = this.#parts;
    return store.post(
      statements.map((statement) => toStatement(statement, names)),
      signal,
    );
  }

  async #putAside(statement: StatementRow, error: string): Promise<void> {
    this.#parts.logger.warn({ statementId: statement.id, error }, "the learning record store refuses a statement");
    await this.#parts.queue.putAside(statement, error);
  }
}

type Failed = Extract<PostOutcome, { type: "failed" }>;
