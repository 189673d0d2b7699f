import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { HeartbeatBuffer, type HeartbeatBufferOptions } from "./heartbeat-buffer.ts";
import { type Observation, type PendingBeat, rowKeyOf, toPendingBeat } from "./pending-beat.ts";
import type { WriteResult } from "./split-batch.ts";

const AWAY = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });

/** A database that answers when it is told to. */
class FakeWriter {
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

describe("HeartbeatBuffer", () => {
  let writer: FakeWriter;
  /** Of the beat made last: its position and what it played follow from it. */
  let seq: number;
  let answers: WriteResult[];

  beforeEach(() => {
    vi.useFakeTimers({
      toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "setImmediate", "performance"],
    });
    writer = new FakeWriter();
    seq = 0;
    answers = [];
  });
  afterEach(() => {
    vi.useRealTimers();
  });

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

  /** What came back: `ok`, or the code of the refusal. */
  function outcomes(): string[] {
    return answers.map((answer) =>
      answer.type === "failed" ? answer.error.code : answer.type === "written" ? "ok" : answer.type,
    );
  }

  /** A first beat, which goes alone and at once: what comes while it is written gathers. */
  async function occupy(buffer: HeartbeatBuffer): Promise<() => void> {
    buffer.add(beat({ userId: "first" }), () => undefined);
    await settle();
    return writer.last.commit;
  }

  async function pass(ms: number): Promise<void> {
    await vi.advanceTimersByTimeAsync(ms);
  }

  /** Lets what is ready run; no time passes. */
  const settle = () => pass(0);

  it("settles no beat before its batch is committed", async () => {
    const buffer = createBuffer();
    add(buffer);
    await pass(1000);
    expect([writer.batches.length, buffer.pending, outcomes()]).toEqual([1, 1, []]);
    writer.last.commit();
    await settle();
    expect([buffer.pending, outcomes()]).toEqual([0, ["ok"]]);
  });

  it("answers every other beat of a batch where one cannot be answered", async () => {
    const buffer = createBuffer();
    const commit = await occupy(buffer);
    buffer.add(beat({ userId: "a" }), () => {
      throw new Error("no answer");
    });
    add(buffer, { userId: "b" });
    commit();
    await pass(50);
    writer.last.commit();
    await settle();
    expect([buffer.pending, outcomes()]).toEqual([0, ["ok"]]);
  });

  it("merges beats of one file while a flush runs, and keeps every ack", async () => {
    const buffer = createBuffer();
    const commit = await occupy(buffer);
    for (let i = 0; i < 5; i++) add(buffer);
    await pass(1000);
    expect([writer.batches.length, buffer.pending]).toEqual([1, 6]);
    commit();
    await settle();
    expect(writer.last.entries).toMatchObject([{ position: { positionMs: 6 }, played: [[20, 70]] }]);
    for (let i = 0; i < 3; i++) add(buffer);
    writer.last.commit();
    await pass(50);
    expect(outcomes()).toEqual(["ok", "ok", "ok", "ok", "ok"]);
    expect(writer.last.entries).toMatchObject([{ position: { positionMs: 9 }, played: [[70, 100]] }]);
    writer.last.commit();
    await settle();
    expect(answers.map((answer) => answer.type === "written" && answer.progress.position)).toEqual([
      6, 6, 6, 6, 6, 9, 9, 9,
    ]);
  });

  it("puts at most one entry of a row into a batch, in the order in which rows are locked", async () => {
    const buffer = createBuffer();
    const commit = await occupy(buffer);
    for (const given of [
      { userId: "u2", fileId: "b" },
      { userId: "u1", fileId: "b" },
      { userId: "u1", fileId: "a" },
      { userId: "u1", fileId: "a", epoch: 1 },
      { userId: "u1", fileId: "a", seq: undefined },
    ]) {
      add(buffer, given);
    }
    writer.automatic = true;
    commit();
    await pass(200);
    const rows = writer.batches
      .slice(1)
      .map(({ entries }) => entries.map((entry) => rowKeyOf(entry).replace("\u0000", "/")));
    expect(rows).toEqual([["u1/a", "u1/b", "u2/b"], ["u1/a"], ["u1/a"]]);
    expect(outcomes()).toEqual(["ok", "ok", "ok", "ok", "ok"]);
  });

  it("writes at most maxBatch rows at once, the oldest first", async () => {
    const buffer = createBuffer({ maxBatch: 2 });
    const commit = await occupy(buffer);
    for (const userId of ["e", "d", "c", "b", "a"]) add(buffer, { userId });
    writer.automatic = true;
    commit();
    await pass(200);
    const users = writer.batches.slice(1).map(({ entries }) => entries.map(({ userId }) => userId));
    expect(users).toEqual([["d", "e"], ["b", "c"], ["a"]]);
  });

  it("waits the flush interval between two flushes", async () => {
    writer.automatic = true;
    const buffer = createBuffer({ flushIntervalMs: 50 });
    add(buffer);
    await settle();
    expect(outcomes()).toEqual(["ok"]);
    add(buffer);
    await pass(49);
    expect(outcomes()).toEqual(["ok"]);
    await pass(1);
    expect(outcomes()).toEqual(["ok", "ok"]);
  });

  it("refuses beats past maxPending as overloaded, and says when to send them again", async () => {
    const buffer = createBuffer({ maxPending: 3 });
    for (let i = 0; i < 5; i++) add(buffer);
    expect(outcomes()).toEqual(["overloaded", "overloaded"]);
    expect(answers[0]).toMatchObject({ error: { retryAfterMs: expect.any(Number) } });
    expect([buffer.pending, buffer.load]).toEqual([3, 1]);
    writer.automatic = true;
    await pass(50);
    expect(outcomes()).toEqual(["overloaded", "overloaded", "ok", "ok", "ok"]);
    add(buffer);
    expect(buffer.pending).toBe(1);
  });

  it("refuses beats past a user's share of the places as overloaded, and takes those of others", async () => {
    const buffer = createBuffer({ maxPending: 100 });
    for (let i = 0; i < 15; i++) add(buffer, { userId: "mallory", fileId: `f${i}` });
    expect(outcomes()).toEqual(Array(5).fill("overloaded"));
    add(buffer, { userId: "alice" });
    expect([buffer.pending, outcomes().length]).toEqual([11, 5]);
    writer.automatic = true;
    await pass(50);
    for (let i = 0; i < 10; i++) add(buffer, { userId: "mallory" });
    expect([buffer.pending, outcomes().filter((outcome) => outcome === "overloaded").length]).toEqual([10, 5]);
  });

  it("serves users in turns where more waits than a batch takes", async () => {
    const buffer = createBuffer({ maxBatch: 4 });
    const commit = await occupy(buffer);
    for (let i = 0; i < 6; i++) add(buffer, { userId: "mallory", fileId: `f${i}` });
    add(buffer, { userId: "alice" });
    add(buffer, { userId: "bob" });
    writer.automatic = true;
    commit();
    await pass(1000);
    const usersOf = (batch: number) => writer.batches[batch]?.entries.map((entry) => entry.userId);
    expect([usersOf(1), usersOf(2)]).toEqual([
      ["alice", "bob", "mallory", "mallory"],
      ["mallory", "mallory", "mallory", "mallory"],
    ]);
  });

  it("tries a batch again after a passing failure, until it is written", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const buffer = createBuffer();
    add(buffer);
    await pass(4000);
    expect([writer.batches.length > 3, outcomes(), buffer.load]).toEqual([true, [], 1]);
    writer.error = null;
    await pass(2000);
    expect(outcomes()).toEqual(["ok"]);
    expect(new Set(writer.batches.map(({ entries }) => JSON.stringify(entries))).size).toBe(1);
    expect(buffer.load).toBe(0);
  });

  it("refuses a batch that fails for good, and writes the next one", async () => {
    const buffer = createBuffer();
    add(buffer);
    await settle();
    add(buffer);
    writer.last.fail(new TypeError("broken"));
    await pass(50);
    expect(outcomes()).toEqual(["internal"]);
    writer.last.commit();
    await settle();
    expect(outcomes()).toEqual(["internal", "ok"]);
  });

  it("refuses each heartbeat as unavailable when its own deadline has passed", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const buffer = createBuffer({ ackDeadlineMs: 3000 });
    add(buffer);
    await pass(2000);
    add(buffer);
    await pass(1500);
    expect(outcomes()).toEqual(["unavailable"]);
    expect(answers[0]).toMatchObject({ error: { retryAfterMs: expect.any(Number) } });
    writer.error = null;
    await pass(1500);
    expect(outcomes()).toEqual(["unavailable", "ok"]);
    expect(buffer.pending).toBe(0);
  });

  it("refuses new beats at once when the database has been away for longer than the deadline", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const buffer = createBuffer({ ackDeadlineMs: 3000 });
    add(buffer);
    await pass(2500);
    add(buffer);
    await pass(1000);
    add(buffer);
    expect(outcomes()).toEqual(["unavailable", "unavailable"]);
  });

  it("accepts heartbeats again after an outage in which every waiting beat was refused", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const buffer = createBuffer({ ackDeadlineMs: 3000 });
    add(buffer);
    await pass(60_000);
    expect([outcomes(), buffer.pending]).toEqual([["unavailable"], 0]);
    writer.error = null;
    add(buffer);
    await pass(2000);
    expect(outcomes()).toEqual(["unavailable", "ok"]);
    expect(buffer.load).toBe(0);
  });

  it("finds out by itself that the database takes writes again, after every waiting beat was refused", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const buffer = createBuffer({ ackDeadlineMs: 3000 });
    for (const userId of ["a", "b", "c"]) add(buffer, { userId });
    await pass(10_000);
    expect([outcomes(), buffer.pending, buffer.isDown]).toEqual([
      ["unavailable", "unavailable", "unavailable"],
      0,
      true,
    ]);
    expect(writer.last.entries).toHaveLength(1);
    writer.error = null;
    await pass(2000);
    expect([outcomes().length, buffer.isDown, buffer.load]).toEqual([3, false, 0]);
  });

  it("lets one new beat at a time take over the trying, in case only the row of the beat before fails", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const buffer = createBuffer({ ackDeadlineMs: 3000 });
    add(buffer, { userId: "bad" });
    await pass(10_000);
    add(buffer, { userId: "a" });
    add(buffer, { userId: "b" });
    expect(outcomes()).toEqual(["unavailable", "unavailable"]);
    await pass(2000);
    expect(writer.last.entries).toMatchObject([{ userId: "a" }]);
    writer.error = null;
    await pass(2000);
    expect(outcomes()).toEqual(["unavailable", "unavailable", "ok"]);
  });

  it("writes one line to the log when writing begins to fail, not one a try", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const lines: string[] = [];
    const logger = pino({ level: "info" }, { write: (line: string) => void lines.push(line) });
    const buffer = createBuffer({}, logger);
    add(buffer);
    await pass(30_000);
    expect(lines).toHaveLength(1);
    writer.error = null;
    await pass(2000);
    expect(lines.map((line) => JSON.parse(line).msg)).toEqual([
      "a batch of heartbeats waits for the database",
      "heartbeats are written again",
    ]);
  });

  it("settles a beat once, even if a flush writes it after its deadline", async () => {
    const buffer = createBuffer({ ackDeadlineMs: 1000 });
    add(buffer);
    await pass(2000);
    expect(outcomes()).toEqual(["unavailable"]);
    writer.last.commit();
    await settle();
    expect([outcomes(), buffer.pending]).toEqual([["unavailable"], 0]);
  });

  it("flushes all waiting beats when it stops, and accepts no more", async () => {
    const buffer = createBuffer({ maxBatch: 1 });
    add(buffer, { userId: "a" });
    add(buffer, { userId: "b" });
    await settle();
    const stopped = buffer.stop(10_000);
    add(buffer, { userId: "c" });
    expect(outcomes()).toEqual(["unavailable"]);
    writer.automatic = true;
    writer.last.commit();
    await settle();
    expect(await stopped).toBe(0);
    expect(outcomes()).toEqual(["unavailable", "ok", "ok"]);
  });

  it("refuses the beats that it cannot write within the stop's time, and returns their number", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const buffer = createBuffer();
    for (const userId of ["a", "a", "b"]) add(buffer, { userId });
    const stopped = buffer.stop(2000);
    await pass(2000);
    expect(await stopped).toBe(3);
    expect(outcomes()).toEqual(["unavailable", "unavailable", "unavailable"]);
    expect(buffer.pending).toBe(0);
  });

  it("counts beats as refused whose deadline passes during the stop", async () => {
    writer.automatic = true;
    writer.error = AWAY;
    const buffer = createBuffer({ ackDeadlineMs: 1000 });
    add(buffer);
    const stopped = buffer.stop(20_000);
    await pass(20_000);
    expect(outcomes()).toEqual(["unavailable"]);
    expect(await stopped).toBe(1);
  });
});
