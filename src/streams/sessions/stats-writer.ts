import type { Logger } from "../../logger.ts";
import type { StreamFigures } from "../../protocol/stream.ts";
import { isAway } from "../is-away.ts";

/*
 * Reports of live sessions, written at most once in two seconds each: what watchers see of a stream changes no more
 * often. Between two writes the newest figures wait; peaks and means count them all.
 */

const WRITE_INTERVAL_MS = 2000;
/** Sessions whose media server went without a word are forgotten past it, the one silent for longest first. */
const MAX_SESSIONS = 10_000;

/** What a report says, or several since the last one that was written. */
export interface ReportedFigures extends StreamFigures {
  peakViewers?: number;
  bitrateSum?: number;
  bitrateReports?: number;
}

interface Entry {
  write: Write;
  /** Whether the first write has found the session to be there. */
  isKnown: boolean;
  /** The write that is under way. */
  writing: Promise<void> | null;
  lastWriteAt: number;
  waiting: ReportedFigures | null;
  timer: NodeJS.Timeout | null;
}

type Write = (figures: ReportedFigures) => Promise<unknown>;

export class StatsWriter {
  readonly #logger: Logger;
  /** By session, the one silent for longest first. */
  readonly #entries = new Map<string, Entry>();

  constructor({ logger }: { logger: Logger }) {
    this.#logger = logger;
  }

  /** Resolves when it is written, or waits for the next write of a session that is there. @throws what `write` throws */
  async report(sessionId: string, figures: StreamFigures, write: Write): Promise<void> {
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
    entry.waiting = mergeFigures(entry.waiting, figures);
    if (!entry.isKnown) {
      // Whether the session is there is asked once, however many reports come meanwhile.
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

  /** Whether the session was there when it was last asked. */
  knows(sessionId: string): boolean {
    return this.#entries.get(sessionId)?.isKnown ?? false;
  }

  /** Writes what waits, now: the session is about to end. Never rejects; what cannot be written is lost. */
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

  /** The session is over, or begins: nothing of before is written any more. */
  forget(sessionId: string): void {
    const entry = this.#entries.get(sessionId);
    if (entry?.timer != null) clearTimeout(entry.timer);
    this.#entries.delete(sessionId);
  }

  stop(): void {
    for (const sessionId of [...this.#entries.keys()]) this.forget(sessionId);
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
      // A session that is known goes on while the database is away; its next report tries again.
      if (!entry.isKnown) throw error;
    }
  }
}

/** Two reports as one: the newest figures, and what the peak and the mean need of both. */
export function mergeFigures(
  before: ReportedFigures | null,
  { bitrateKbps, viewers, mediaTimeMs, ...rest }: ReportedFigures,
): ReportedFigures {
  const merged: ReportedFigures = { ...before };
  if (mediaTimeMs !== undefined) merged.mediaTimeMs = mediaTimeMs;
  if (viewers !== undefined) {
    merged.viewers = viewers;
    merged.peakViewers = Math.max(before?.peakViewers ?? 0, rest.peakViewers ?? viewers);
  }
  if (bitrateKbps !== undefined) {
    merged.bitrateKbps = bitrateKbps;
    merged.bitrateSum = (before?.bitrateSum ?? 0) + (rest.bitrateSum ?? bitrateKbps);
    merged.bitrateReports = (before?.bitrateReports ?? 0) + (rest.bitrateReports ?? 1);
  }
  return merged;
}
