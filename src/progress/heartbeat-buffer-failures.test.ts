import { pino } from "pino";
import { describe, expect, it } from "vitest";
import { type BufferSteps, useBufferSteps } from "../../test/helpers/buffer-steps.ts";

const AWAY = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });

describe("a heartbeat buffer whose writes fail", () => {
  let writer: BufferSteps["writer"];
  let answers: BufferSteps["answers"];
  let createBuffer: BufferSteps["createBuffer"];
  let add: BufferSteps["add"];
  let outcomes: BufferSteps["outcomes"];
  let pass: BufferSteps["pass"];
  let settle: BufferSteps["settle"];
  useBufferSteps((steps) => {
    ({ writer, answers, createBuffer, add, outcomes, pass, settle } = steps);
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
});
