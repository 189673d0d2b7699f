import type { FileFacts } from "../catalogue/catalogue.ts";
import type { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError, type ErrorCode, toWireError } from "../errors.ts";
import { Bulkhead } from "../limits/bulkhead.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { type Ack, parseWire } from "../protocol/ack.ts";
import type { BriefAck } from "../protocol/brief-ack.ts";
import { type Cut, Heartbeat } from "../protocol/heartbeat.ts";
import { fromSeconds, toMs } from "../protocol/ranges.ts";
import type { HeartbeatBuffer } from "./heartbeat-buffer.ts";
import type { LearnerLists } from "./learner-lists.ts";
import { type Observation, type PendingBeat, toPendingBeat } from "./pending-beat.ts";
import { type ProgressReader, unknownFile } from "./progress-reader.ts";
import type {
  BeatSource,
  DurableHeartbeat,
  HeartbeatDone,
  HeartbeatResult,
  LegacyReport,
  ProgressOperations,
  ProgressService,
} from "./progress-service.ts";
import type { WatchBudget } from "./watch-budget.ts";
import type { WrittenBeat } from "./written-beat.ts";

/*
 * The path of a heartbeat up to the buffer: finds the file, and cuts the played ranges to the user's budget. Rules that need the stored row are in merge-beat.ts.
 */

/** An accepted heartbeat, before it is durable. Presence is made of these. */
export interface AcceptedBeat {
  userId: string;
  connectionId: string;
  file: FileFacts;
  beat: Heartbeat;
  /** The viewer counts as present for so long, in ms: three beats at the cadence that the server asks for. */
  leaseMs: number;
}

/** A heartbeat whose file is known, on its way to the buffer. */
interface Arrival {
  source: BeatSource;
  beat: Heartbeat;
  file: FileFacts;
  /** By the process's monotonic clock, in ms. */
  arrivedAt: number;
  done: HeartbeatDone;
}

/** A written heartbeat beside its own sender's beat and the cadence that its buffer asks for. */
class Durable implements DurableHeartbeat {
  readonly #written: WrittenBeat;
  /** Null where less was credited than the sender claimed. */
  readonly #sent: PendingBeat | null;
  readonly #nextBeatMs: number;
  /** Null where nothing was cut. */
  readonly #cut: Cut[] | null;

  constructor(
    written: WrittenBeat,
    { sent, cut }: { sent: PendingBeat | null; cut: Cut[] | null },
    nextBeatMs: number,
  ) {
    this.#written = written;
    this.#sent = sent;
    this.#nextBeatMs = nextBeatMs;
    this.#cut = cut;
  }

  get version(): number {
    return this.#written.version;
  }

  toWhole(): HeartbeatResult {
    const whole = { progress: this.#written.progress, nextBeatMs: this.#nextBeatMs };
    return this.#cut === null ? whole : { ...whole, cut: this.#cut };
  }

  toBrief(held: number): BriefAck | null {
    const brief = this.#written.toBrief({ held, sent: this.#sent }, this.#nextBeatMs);
    return brief === null || this.#cut === null ? brief : { ...brief, cut: this.#cut };
  }
}

export interface ProgressServiceParts {
  /** One for each writer connection. All heartbeats of a user go to the same buffer. */
  buffers: HeartbeatBuffer[];
  budget: WatchBudget;
  catalogue: CatalogueCache;
  reader: ProgressReader;
  lists: LearnerLists;
  operations: ProgressOperations;
  metrics: Metrics;
  logger: Logger;
  onAccepted: (accepted: AcceptedBeat) => void;
  /** Called after a write of this user is durable, before its caller hears of it. */
  onWritten: (userId: string) => void;
}

/** Under full load players are asked to wait so many times the usual interval. */
const MAX_SLOWDOWN = 6;
/** A viewer counts as present for so many beats after its last one. */
const LEASE_BEATS = 3;
/** Tells the player of a file that has left its course when to send its beat again. */
const CHANGED_RETRY_MS = 1000;

const NOTHING_CUT: readonly Cut[] = [];

/** How many reads of one user's progress, or of one course's learners, use the database at once. */
const READS_AT_ONCE = 2;

export function createProgressService(
  parts: ProgressServiceParts,
  options: { beatIntervalMs: number },
): ProgressService {
  const { buffers, budget, catalogue, reader, lists, operations, metrics } = parts;
  const accepted = metrics.heartbeats.tally({ outcome: "ok" });
  const reads = new Bulkhead({ perKey: READS_AT_ONCE });

  function bufferOf(userId: string): HeartbeatBuffer {
    return buffers[buffers.length === 1 ? 0 : hash(userId) % buffers.length] as HeartbeatBuffer;
  }

  function nextBeatMs(buffer: HeartbeatBuffer): number {
    return Math.round(options.beatIntervalMs * (1 + (MAX_SLOWDOWN - 1) * Math.min(1, buffer.load)));
  }

  /** Loads the file and the user's budget. Called only if one of them is not in memory. */
  async function prepare(userId: string, fileId: string): Promise<FileFacts> {
    try {
      const file = catalogue.peekFile(fileId) ?? (await catalogue.findFile(fileId));
      if (file === null) throw unknownFile(fileId, catalogue.behindMs(fileId));
      if (!budget.knows(userId)) await budget.contact(userId);
      return file;
    } catch (error) {
      throw toUnavailable(error);
    }
  }

  /** `isPastTheEnd`: a part of the observation lies past the duration. */
  function submit(observation: Observation, isPastTheEnd: boolean, done: HeartbeatDone): void {
    const charge = budget.charge(observation.userId, observation.played);
    if (charge.cutMs > 0) metrics.budgetCutMs.inc(charge.cutMs);
    const buffer = bufferOf(observation.userId);
    const beat = toPendingBeat({ ...observation, played: charge.played });
    const sent = !isPastTheEnd && charge.cutMs === 0 ? beat : null;
    buffer.add(beat, (result) => {
      if (result.type !== "written" || result.dropped) budget.refund(observation.userId, charge.chargedMs);
      parts.onWritten(observation.userId);
      if (result.type === "written") {
        const cut = cutOf(result, { isOverBudget: charge.cutMs > 0, isPastTheEnd });
        for (const reason of cut ?? NOTHING_CUT) metrics.cutBeats.inc({ reason });
        done(null, new Durable(result, { sent, cut }, nextBeatMs(buffer)));
      } else if (result.type === "failed") done(result.error, null);
      else {
        catalogue.forgetCourse(observation.courseId);
        // Perhaps it has moved to another course: the next beat finds what the catalogue holds now.
        const message = "The catalogue has changed, and knows no such file where it was.";
        done(new AppError("unknown_file", message, { retryAfterMs: CHANGED_RETRY_MS }), null);
      }
    });
  }

  /** `asked` says what is read: equal reads that wait are one. */
  function read<T>(id: string, asked: unknown[], work: () => Promise<T>): Promise<T> {
    return reads.run(id, JSON.stringify(asked), work);
  }

  async function operate(userId: string, operation: Promise<void>): Promise<void> {
    await operation;
    parts.onWritten(userId);
  }

  function takeHeartbeat(source: BeatSource, beat: Heartbeat, done: HeartbeatDone): void {
    const arrivedAt = performance.now();
    const file = catalogue.peekFile(beat.fileId);
    if (file && budget.knows(source.userId)) {
      accept({ source, beat, file, arrivedAt, done });
      return;
    }
    prepare(source.userId, beat.fileId).then(
      (found) => accept({ source, beat, file: found, arrivedAt, done }),
      (error: unknown) => refuse(error, done),
    );
  }

  /** Never throws: errors go to `done`. */
  function accept({ source, beat, file, arrivedAt, done }: Arrival): void {
    const sentMs = toMs(beat.position);
    const played = fromSeconds(beat.played ?? []);
    const endMs = file.durationMs ?? Number.POSITIVE_INFINITY;
    const isPastTheEnd = sentMs > endMs || played.some(([, to]) => to > endMs);
    let observation: Observation;
    try {
      observation = {
        userId: source.userId,
        fileId: beat.fileId,
        courseId: file.courseId,
        epoch: beat.epoch,
        // A player that has ended begins anew at the next visit, however long the file is.
        positionMs: beat.state === "ended" ? Math.min(sentMs, endMs) : sentMs,
        observedAtMs: arrivedAt - (beat.ageMs ?? 0),
        session: beat.sessionId ?? source.connectionId,
        seq: beat.seq,
        played: played.filter(([from, to]) => from < to),
      };
      parts.onAccepted({ ...source, file, beat, leaseMs: LEASE_BEATS * nextBeatMs(bufferOf(source.userId)) });
    } catch (error) {
      refuse(error, done);
      return;
    }
    submit(observation, isPastTheEnd, (error, durable) => {
      if (durable === null) {
        refuse(error, done);
        return;
      }
      accepted.inc();
      metrics.ackSeconds.observe((performance.now() - arrivedAt) / 1000);
      done(null, durable);
    });
  }

  function refuse(error: unknown, done: HeartbeatDone): void {
    const outcome: ErrorCode = error instanceof AppError ? error.code : "internal";
    metrics.heartbeats.inc({ outcome });
    done(error, null);
  }

  function heartbeat(source: BeatSource, beat: Heartbeat): Promise<HeartbeatResult> {
    return new Promise((resolve, reject) => {
      takeHeartbeat(source, beat, (error, durable) => (durable === null ? reject(error) : resolve(durable.toWhole())));
    });
  }

  return {
    contact(userId) {
      budget.contact(userId).catch((error: unknown) => {
        parts.logger.warn({ err: error }, "a user's last contact could not be read; the first heartbeat asks again");
      });
    },

    takeHeartbeat,
    heartbeat,

    heartbeats: (source, beats) =>
      Promise.all(
        beats.map(async (given): Promise<Ack<HeartbeatResult>> => {
          try {
            return { ok: true, ...(await heartbeat(source, parseWire(Heartbeat, given))) };
          } catch (error) {
            if (!(error instanceof AppError)) parts.logger.error({ err: error }, "a heartbeat of a batch failed");
            return { ok: false, error: toWireError(error) };
          }
        }),
      ),

    async report(source: BeatSource, report: LegacyReport) {
      const file = await prepare(source.userId, report.fileId);
      const course = await catalogue.findCourse(file.courseId);
      const positionMs = Math.min(toMs(report.progressSeconds), file.durationMs ?? Number.POSITIVE_INFINITY);
      const believed = course?.acceptReported === true;
      const observation: Observation = {
        userId: source.userId,
        fileId: report.fileId,
        courseId: file.courseId,
        positionMs,
        observedAtMs: performance.now(),
        session: source.connectionId,
        played: [],
        reportedBp: believed ? reportedBp(report, positionMs, file.durationMs) : 0,
        reportedDone: believed && report.completed === true,
      };
      await new Promise<void>((resolve, reject) => {
        submit(observation, false, (error, durable) => (durable === null ? reject(error) : resolve()));
      });
      return reader.readLegacy(source.userId, report.fileId);
    },

    readFile: (userId, ...rest) => read(userId, ["file", ...rest], () => reader.readFile(userId, ...rest)),
    readCourse: (userId, ...rest) => read(userId, ["course", ...rest], () => reader.readCourse(userId, ...rest)),
    readCourseRow: (userId, id) => read(userId, ["row", id], () => reader.readCourseRow(userId, id)),
    readLegacy: (userId, id) => read(userId, ["legacy", id], () => reader.readLegacy(userId, id)),
    learners: (id, question) => read(id, ["learners", question], () => lists.learners(id, question)),
    lessonLearners: (id, page) => read(id, ["lesson", page], () => lists.lessonLearners(id, page)),
    fileLearners: (id, page) => read(id, ["file", page], () => lists.fileLearners(id, page)),
    ownFiles: (userId, question) => read(userId, ["own", question], () => lists.ownFiles(userId, question)),
    cutsOf: (userId) => budget.cutsOf(userId),
    reset: (userId, ...rest) => operate(userId, operations.reset(userId, ...rest)),
    complete: (userId, ...rest) => operate(userId, operations.complete(userId, ...rest)),
    uncomplete: (userId, ...rest) => operate(userId, operations.uncomplete(userId, ...rest)),
  };
}

/** What an ack tells its sender that was cut; null where nothing was. */
function cutOf(
  written: WrittenBeat,
  { isOverBudget, isPastTheEnd }: { isOverBudget: boolean; isPastTheEnd: boolean },
): Cut[] | null {
  if (written.dropped || !(isOverBudget || isPastTheEnd || written.hasGivenUp)) return null;
  const cut: Cut[] = [];
  if (isOverBudget) cut.push("budget");
  if (written.hasGivenUp) cut.push("fragments");
  if (isPastTheEnd) cut.push("duration");
  return cut;
}

/** In hundredths of a percent. If a legacy client sends no percentage, its position counts as its progress. */
function reportedBp(report: LegacyReport, positionMs: number, durationMs: number | null): number {
  if (report.progressPercentage !== undefined) return Math.floor(report.progressPercentage * 100);
  return durationMs === null ? 0 : Math.floor((positionMs * 10_000) / durationMs);
}

/** FNV-1a. Picks the buffer of a user. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return value;
}
