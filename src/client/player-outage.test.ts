import { describe, expect, it, vi } from "vitest";
import type { FakeProgressServer } from "../../test/helpers/fake-progress-server.ts";
import { type Players, usePlayers } from "../../test/helpers/players.ts";
import { createMemoryStorage, heardBy, progressOf, takeEverything } from "../../test/helpers/sdk-player.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import type { Player } from "./player-api.ts";

let server: FakeProgressServer;
let open: Players["open"];
usePlayers((started) => {
  ({ server, open } = started);
});

/** Plays a second, and changes the state, which makes a beat. */
function playSecond(player: Player, second: number): void {
  player.played(second, second + 1);
  player.report({ position: second + 1, state: second % 2 === 0 ? "playing" : "paused" });
}

describe("a player whose heartbeats are refused as unavailable", () => {
  it("asks with one beat, and brings the rest in one beat when the server is back, however long that took", async () => {
    const refusal = { ok: false, error: { code: "unavailable", message: "away", retryAfterMs: 5 } };
    const refuse = (_: Heartbeat, reply: (answer: object) => void) => reply(refusal);
    const player = open();
    await player.ready;
    server.handle("heartbeat", refuse);
    server.handle("heartbeats", refuse as never);
    let second = 0;
    await vi.waitFor(
      () => {
        playSecond(player, second++);
        expect(heardBy(server).length).toBeGreaterThan(4);
      },
      { timeout: 5000, interval: 15 },
    );
    expect(server.calls.map(({ event }) => event)).not.toContain("heartbeats");
    expect(new Set(heardBy(server).map((beat) => beat.seq))).toEqual(new Set([1]));
    expect(player.pending).toBe(2);
    server.calls.length = 0;
    takeEverything(server);
    await vi.waitFor(() => expect(player.pending).toBe(0), { timeout: 5000 });
    expect(heardBy(server).flatMap((beat) => beat.played)).toEqual([
      [0, 1],
      [1, second],
    ]);
  });

  it("waits longer with every refusal, and never shorter than the server asks", async () => {
    const times: number[] = [];
    server.handle("heartbeat", (_, reply) => {
      times.push(performance.now());
      reply({ ok: false, error: { code: "overloaded", message: "full", retryAfterMs: 40 } });
    });
    const player = open();
    await player.ready;
    playSecond(player, 0);
    await vi.waitFor(() => expect(times.length).toBe(4), { timeout: 5000 });
    const waits = times.slice(1).map((at, index) => at - (times[index] as number));
    expect(Math.min(...waits)).toBeGreaterThanOrEqual(39);
    expect(waits[2]).toBeGreaterThan(150);
  });
});

describe("a heartbeat of a file that the server does not know", () => {
  const unknown = (more: object) => ({ ok: false, error: { code: "unknown_file", message: "no such file", ...more } });

  it("is kept and sent again where the server says that its catalogue may be behind, while other beats go on", async () => {
    const storage = createMemoryStorage();
    const left = ["new", "old"].map((fileId, index) => ({
      ...{ fileId, positionMs: 1000, state: "paused", rate: 1, ageMs: 5, epoch: 0 },
      ...{ sessionId: "before", seq: index + 1, played: [[0, 1000]], sent: false },
    }));
    const key = `playhead:beats:${encodeURIComponent(server.url)}:u:before`;
    storage.set(key, JSON.stringify({ savedAtMs: Date.now(), closed: true, beats: left }));
    let isBehind = true;
    const answer = ({ fileId, position }: Heartbeat) =>
      fileId === "new" && isBehind
        ? unknown({ retryAfterMs: 20 })
        : { ok: true, progress: progressOf({ fileId, position }), nextBeatMs: 10_000 };
    server.handle("heartbeat", (beat: Heartbeat, reply) => reply(answer(beat)));
    server.handle("heartbeats", ({ beats }: { beats: Heartbeat[] }, reply) =>
      reply({ ok: true, results: beats.map(answer) }),
    );
    const player = open({ storage, userId: "u" });
    const errors: string[] = [];
    player.on("error", ({ code }) => errors.push(code));
    await vi.waitFor(() => expect(player.pending).toBe(1));
    await vi.waitFor(() => expect(heardBy(server).filter(({ fileId }) => fileId === "new").length).toBeGreaterThan(2));
    expect(heardBy(server).filter(({ fileId }) => fileId === "old")).toHaveLength(1);
    isBehind = false;
    await vi.waitFor(() => expect(player.pending).toBe(0));
    expect(errors).toEqual([]);
  });

  it("is dropped with an error where the server is sure", async () => {
    server.handle("heartbeat", (_, reply) => reply(unknown({})));
    const player = open();
    const errors: string[] = [];
    player.on("error", ({ code }, beat) => errors.push(`${code} ${beat?.seq}`));
    await player.ready;
    playSecond(player, 0);
    await vi.waitFor(() => expect(errors).toEqual(["unknown_file 1"]));
    expect(player.pending).toBe(0);
  });
});

describe("a stored place that comes late", () => {
  it("is not written over by what was played from the start meanwhile", async () => {
    let sendPlace = () => {};
    takeEverything(server, { epoch: 3 });
    server.handle("progress:get", (_, reply) => {
      sendPlace = () => reply({ ok: true, progress: progressOf({ position: 40, resumeAt: 38, epoch: 3 }) });
    });
    const player = open();
    for (let second = 0; second < 6; second++) playSecond(player, second);
    player.beat();
    await vi.waitFor(() => expect(player.state).toBe("online"));
    await vi.waitFor(() => expect(server.calls.map(({ event }) => event)).toEqual(["progress:get"]));
    expect(player.pending).toBe(1);
    sendPlace();
    await vi.waitFor(() => expect(player.pending).toBe(0));
    expect(heardBy(server)).toMatchObject([{ position: 40, played: [[0, 6]] }]);
    playSecond(player, 6);
    await vi.waitFor(() => expect(heardBy(server)[1]).toMatchObject({ position: 7, epoch: 3 }));
  });

  it("is not written over by the next page either, where the page ended before it came", async () => {
    const storage = createMemoryStorage();
    await server.stop();
    const first = open({ storage, userId: "u", fileId: "g" });
    playSecond(first, 0);
    await first.close();
    await server.start();
    takeEverything(server, { position: 40, resumeAt: 38 });
    const second = open({ storage, userId: "u" });
    await second.ready;
    await vi.waitFor(() => expect(second.pending).toBe(0));
    expect(heardBy(server)).toMatchObject([{ fileId: "g", position: 40, played: [[0, 1]] }]);
  });
});

describe("the first read of the stored place", () => {
  it("takes one request, without waiting for the connection", async () => {
    server.overHttp = progressOf({ position: 40, resumeAt: 38 });
    server.refuse = { code: "unavailable" };
    const player = open();
    expect(await player.ready).toMatchObject({ position: 40 });
    expect(player.state).not.toBe("online");
    expect(server.calls).toEqual([]);
  });

  it("asks the connection where the request has no answer", async () => {
    const player = open();
    expect(await player.ready).toMatchObject({ position: 0 });
    expect(server.calls.map(({ event }) => event)).toEqual(["progress:get"]);
  });
});

describe("an ack that says what was cut", () => {
  it("is told to the application", async () => {
    server.handle("heartbeat", (beat: Heartbeat, reply) =>
      reply({ ok: true, progress: progressOf({ position: beat.position }), nextBeatMs: 10_000, cut: ["budget"] }),
    );
    const player = open();
    const cuts: unknown[] = [];
    player.on("cut", (reasons, beat) => cuts.push([reasons, beat.seq]));
    await player.ready;
    playSecond(player, 0);
    await vi.waitFor(() => expect(cuts).toEqual([[["budget"], 1]]));
  });
});
