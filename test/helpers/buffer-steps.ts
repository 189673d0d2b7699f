import { afterEach, beforeEach, vi } from "vitest";
import { createLogger } from "../../src/logger.ts";
import { createMetrics } from "../../src/metrics/metrics.ts";
import { HeartbeatBuffer, type HeartbeatBufferOptions } from "../../src/progress/heartbeat-buffer.ts";
import { type Observation, type PendingBeat, toPendingBeat } from "../../src/progress/pending-beat.ts";
import type { WriteResult } from "../../src/progress/split-batch.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";

/*
 * A heartbeat buffer in front of a fake writer, in fake time.
 */

/** A database that answers when it is told to. */
export class FakeWriter {
  readonly batches: { entries: PendingBeat[]; commit: () => void; fail: (error: unknown) => void }[] = [];
  /** Answers by itself from now on; with an error while one is set. */
  automatic = false;
  error: unknown = null;

  readonly write = (entries: PendingBeat[]): Promise<WriteResult[]> =>
    new Promise((resolve, reject) => {
      const copies = entries.map((entry) => structuredClone(entry));
      const commit = () =>
        resolve(
          copies.map((entry) => ({ type: "written", dropped: false, progress: toProgress(entry) }) as WriteResult),
        );
      this.batches.push({ entries: copies, commit, fail: reject });
      if (!this.automatic) return;
      if (this.error === null) commit();
      else reject(this.error);
    });

  get last() {
    return this.batches.at(-1) as (typeof this.batches)[number];
  }
}

function toProgress(entry: PendingBeat): FileProgress {
  const { userId, fileId, position } = entry;
  return { userId, fileId, position: position.positionMs } as FileProgress;
}

export interface BufferSteps {
  writer: FakeWriter;
  /** What came back for each added beat, in order. */
  answers: WriteResult[];
  createBuffer(options?: Partial<HeartbeatBufferOptions>, logger?: ReturnType<typeof createLogger>): HeartbeatBuffer;
  /** Makes a beat: its position, and what it played, follow from its number. */
  beat(given?: Partial<Observation>): PendingBeat;
  add(buffer: HeartbeatBuffer, given?: Partial<Observation>): void;
  /** What came back: `ok`, or the code of the refusal. */
  outcomes(): string[];
  /** A first beat, which goes alone and at once: what comes while it is written gathers. @returns how to commit it */
  occupy(buffer: HeartbeatBuffer): Promise<() => void>;
  /** Lets fake time pass. */
  pass(ms: number): Promise<void>;
  /** Lets what is ready run; no time passes. */
  settle(): Promise<void>;
}

/** Begins fake time, and makes a new writer, before each test. */
export function useBufferSteps(onMade: (steps: BufferSteps) => void): void {
  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "setImmediate", "performance"],
    });
    onMade(createBufferSteps());
  });
  afterEach(() => {
    vi.useRealTimers();
  });
}

function createBufferSteps(): BufferSteps {
  const writer = new FakeWriter();
  const answers: WriteResult[] = [];
  let seq = 0;

  function createBuffer(options: Partial<HeartbeatBufferOptions> = {}, logger = createLogger({ level: "silent" })) {
    return new HeartbeatBuffer(
      { write: writer.write, metrics: createMetrics(), logger },
      { flushIntervalMs: 50, maxBatch: 1000, maxPending: 100, ackDeadlineMs: 8000, ...options },
    );
  }

  function beat(given: Partial<Observation> = {}): PendingBeat {
    seq += 1;
    return toPendingBeat({
      userId: "u",
      fileId: "f",
      courseId: "c",
      positionMs: seq,
      observedAtMs: seq,
      session: "s",
      seq,
      played: [[seq * 10, seq * 10 + 10]],
      ...given,
    });
  }

  function add(buffer: HeartbeatBuffer, given: Partial<Observation> = {}): void {
    buffer.add(beat(given), (result) => answers.push(result));
  }

  function outcomes(): string[] {
    return answers.map((answer) =>
      answer.type === "failed" ? answer.error.code : answer.type === "written" ? "ok" : answer.type,
    );
  }

  async function occupy(buffer: HeartbeatBuffer): Promise<() => void> {
    buffer.add(beat({ userId: "first" }), () => undefined);
    await settle();
    return writer.last.commit;
  }

  async function pass(ms: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms);
  }

  const settle = () => pass(0);
  return { writer, answers, createBuffer, beat, add, outcomes, occupy, pass, settle };
}
