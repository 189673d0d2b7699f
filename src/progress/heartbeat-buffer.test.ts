import { describe, expect, it } from "vitest";
import { type BufferSteps, useBufferSteps } from "../../test/helpers/buffer-steps.ts";
import { rowKeyOf } from "./pending-beat.ts";

const AWAY = Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });

describe("HeartbeatBuffer", () => {
  let writer: BufferSteps["writer"];
  let answers: BufferSteps["answers"];
  let createBuffer: BufferSteps["createBuffer"];
  let beat: BufferSteps["beat"];
  let add: BufferSteps["add"];
  let outcomes: BufferSteps["outcomes"];
  let occupy: BufferSteps["occupy"];
  let pass: BufferSteps["pass"];
  let settle: BufferSteps["settle"];
  useBufferSteps((steps) => {
    ({ writer, answers, createBuffer, beat, add, outcomes, occupy, pass, settle } = steps);
  });

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
