import type { Logger } from "../../logger.ts";
import type { StreamFigures } from "../../protocol/stream.ts";
import { isAway } from "../answer-deadline.ts";
import { mergeFigures, type ReportedFigures } from "./reported-figures.ts";

/*
 * Writes the reports of live sessions, each session at most once in two seconds: watchers are shown changes of a stream
 * no more often. Reports that come in between are merged and wait for the next write.
 */

const WRITE_INTERVAL_MS = 2000;
/** A media server may vanish without an end. Past this number the session that is silent for longest is forgotten. */
const MAX_SESSIONS = 10_000;

interface Entry {
  write: Write;
  /** A write has succeeded, so the session exists. */
  isKnown: boolean;
  /** The write under way. */
  writing: Promise<void> | null;
  lastWriteAt: number;
  waiting: ReportedFigures | null;
  timer: NodeJS.Timeout | null;
}

type Write = (figures: ReportedFigures) => Promise<unknown>;

export class StatsWriter {
  readonly #logger: Logger;
  /** By session; silent for longest first. */
  readonly #entries = new Map<string, Entry>();

  constructor({ logger }: { logger: Logger }) {
    this.#logger = logger;
  }

  /** Resolves when the report is written, or waits for the next write of a session that exists. @throws what `write` throws */
  async report(sessionId: string, figures: StreamFigures, write: Write): Promise<void> {
    const entry = this.#touch(sessionId, write);
    entry.waiting = mergeFigures(entry.waiting, figures);
    if (!entry.isKnown) {
      // The first write shows whether the session exists. Reports that come meanwhile wait for the same write.
      await (entry.writing ?? this.#write(sessionId, entry));
    }
    const dueInMs = entry.lastWriteAt + WRITE_INTERVAL_MS - performance.now();
    if (entry.waiting === null) return;
    if (dueInMs <= 0) return this.#write(sessionId, entry);
    entry.timer ??= setTimeout(() => {
      this.#write(sessionId, entry).catch((error: unknown) => {
        this.#logger.debug({ err: error }, "figures of a stream could not be written");
      });
    }, dueInMs).unref();
  }

  /** Whether the session existed at its last write. */
  knows(sessionId: string): boolean {
    return this.#entries.get(sessionId)?.isKnown ?? false;
  }

  /** Writes at once what waits, because the session is about to end. Never rejects; figures that cannot be written are lost. */
  async flush(sessionId: string): Promise<void> {
    const entry = this.#entries.get(sessionId);
    if (entry === undefined) return;
    try {
      await entry.writing;
      await this.#write(sessionId, entry);
    } catch (error) {
      this.#logger.debug({ err: error }, "the last figures of a stream could not be written");
    }
  }

  /** The session is over: figures that wait are not written any more. */
  forget(sessionId: string): void {
    const entry = this.#entries.get(sessionId);
    if (entry?.timer != null) clearTimeout(entry.timer);
    this.#entries.delete(sessionId);
  }

  stop(): void {
    for (const sessionId of [...this.#entries.keys()]) this.forget(sessionId);
  }

  #touch(sessionId: string, write: Write): Entry {
    const entry = this.#entries.get(sessionId) ?? {
      write,
      isKnown: false,
      writing: null,
      lastWriteAt: 0,
      waiting: null,
      timer: null,
    };
    this.#entries.delete(sessionId);
    this.#entries.set(sessionId, entry);
    const [silent] = this.#entries.keys();
    if (this.#entries.size > MAX_SESSIONS && silent !== undefined) this.forget(silent);
    return entry;
  }

  #write(sessionId: string, entry: Entry): Promise<void> {
    const writing = this.#writeNow(sessionId, entry).finally(() => {
      if (entry.writing === writing) entry.writing = null;
    });
    entry.writing = writing;
    return writing;
  }

  async #writeNow(sessionId: string, entry: Entry): Promise<void> {
    const figures = entry.waiting;
    if (entry.timer !== null) clearTimeout(entry.timer);
    Object.assign(entry, { timer: null, waiting: null, lastWriteAt: performance.now() });
    if (figures === null) return;
    try {
      await entry.write(figures);
      entry.isKnown = true;
    } catch (error) {
      if (!isAway(error)) {
        this.forget(sessionId);
        throw error;
      }
      entry.waiting = entry.waiting === null ? figures : mergeFigures(figures, entry.waiting);
      // A known session goes on while the database is away; its next report tries again.
      if (!entry.isKnown) throw error;
    }
  }
}
