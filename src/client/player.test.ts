import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type FakeProgressServer, startFakeProgressServer } from "../../test/helpers/fake-progress-server.ts";
import { createMemoryStorage, heardBy } from "../../test/helpers/sdk-player.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { createPlayer } from "./player.ts";
import type { Player, PlayerOptions } from "./player-api.ts";

let server: FakeProgressServer;
let players: Player[];
let version: number;

beforeEach(async () => {
  server = await startFakeProgressServer();
  players = [];
  version = 0;
  server.handle("progress:get", (_, reply) => reply({ ok: true, progress: progressOf() }));
  server.handle("heartbeat", (beat: Heartbeat, reply) => reply(accepted(beat)));
  server.handle("heartbeats", ({ beats }: { beats: Heartbeat[] }, reply) =>
    reply({ ok: true, results: beats.map((beat) => accepted(beat)) }),
  );
});

afterEach(async () => {
  await Promise.all(players.map((player) => player.close()));
  await server.stop();
});

function progressOf(more: Partial<FileProgress> = {}): FileProgress {
  const place = { userId: "u", fileId: "f", lessonId: "l", courseId: "c" };
  const watched = { position: 0, resumeAt: 0, duration: 60, watched: [], watchedSeconds: 0, watchTimeSeconds: 0 };
  return {
    ...place,
    ...watched,
    percentage: 0,
    completed: false,
    lastWatched: null,
    epoch: 0,
    version: ++version,
    ...more,
  };
}

function accepted(beat: Heartbeat) {
  return { ok: true, progress: progressOf({ position: beat.position }), nextBeatMs: 10_000 };
}

function open(more: Partial<PlayerOptions> = {}): Player {
  const player = createPlayer({ url: server.url, token: "t", fileId: "f", storage: null, ...more });
  players.push(player);
  return player;
}

const heard = () => heardBy(server);

describe("a player", () => {
  it("sends nothing before the page has reported something", async () => {
    const player = open();
    await player.ready;
    expect(heard()).toEqual([]);
  });

  it("sends the pause at once, with the ranges that were played until then", async () => {
    const player = open();
    await player.ready;
    player.report({ position: 0, state: "playing" });
    await vi.waitFor(() => expect(player.pending).toBe(0));
    player.played(0, 3.5);
    player.report({ position: 3.5, state: "paused" });
    await vi.waitFor(() => expect(heard()).toHaveLength(2));
    expect(heard()[1]).toMatchObject({ position: 3.5, state: "paused", played: [[0, 3.5]], seq: 2, epoch: 0 });
    expect(heard()[1]?.sessionId).toBe(player.sessionId);
  });

  it("sends beats at the pace that the server asks for", async () => {
    server.handle("heartbeat", (beat: Heartbeat, reply) => reply({ ...accepted(beat), nextBeatMs: 20 }));
    const player = open();
    await player.ready;
    player.report({ position: 1 });
    await vi.waitFor(() => expect(player.pending).toBe(0));
    player.beat();
    await vi.waitFor(() => expect(heard().length).toBeGreaterThan(4));
  });

  it("counts the age of a paused player's beats from the pause", async () => {
    const player = open();
    await player.ready;
    player.report({ position: 7, state: "playing" });
    player.report({ position: 7, state: "paused" });
    await vi.waitFor(() => expect(player.pending).toBe(0));
    await vi.waitFor(() => {
      player.report({ position: 7, state: "paused" });
      player.beat();
      expect(heard().at(-1)?.ageMs).toBeGreaterThan(50);
    });
  });

  it("sends an unanswered beat again after a reconnect, with only its age changed", async () => {
    let isDeaf = true;
    server.handle("heartbeat", (beat: Heartbeat, reply, socket) => {
      if (!isDeaf) return reply(accepted(beat));
      isDeaf = false;
      socket.conn.close();
    });
    const player = open();
    await player.ready;
    player.played(0, 5);
    player.report({ position: 5, state: "paused" });
    await vi.waitFor(() => expect(player.pending).toBe(0), { timeout: 5000 });
    const [first, again] = heard();
    expect({ ...again, ageMs: 0 }).toEqual({ ...first, ageMs: 0 });
  });

  it("keeps what plays while the server is away, and sends it when the server is back", async () => {
    const player = open();
    await player.ready;
    await server.stop();
    await vi.waitFor(() => expect(player.state).not.toBe("online"));
    for (let second = 0; second < 30; second++) {
      player.played(second, second + 1);
      player.report({ position: second + 1, state: second % 2 === 0 ? "playing" : "paused" });
    }
    expect(player.pending).toBe(1);
    await server.start();
    await vi.waitFor(() => expect(player.pending).toBe(0), { timeout: 10_000 });
    expect(heard().flatMap((beat) => beat.played)).toEqual([[0, 30]]);
  });

  it("waits as long as an overloaded server asks, and then sends the same beat", async () => {
    const refusals = [{ ok: false, error: { code: "overloaded", message: "full", retryAfterMs: 30 } }];
    server.handle("heartbeat", (beat: Heartbeat, reply) => reply(refusals.pop() ?? accepted(beat)));
    const player = open();
    await player.ready;
    player.report({ position: 1 });
    await vi.waitFor(() => expect(player.pending).toBe(0));
    expect(heard().map((beat) => beat.seq)).toEqual([1, 1]);
  });

  it("drops a beat that the server will never take, reports the error, and goes on", async () => {
    server.handle("heartbeat", (beat: Heartbeat, reply) => {
      if (beat.seq !== 1) return reply(accepted(beat));
      reply({ ok: false, error: { code: "bad_request", message: "position: past the duration" } });
    });
    const player = open();
    const errors: string[] = [];
    player.on("error", (error, beat) => errors.push(`${error.code} ${beat?.seq}`));
    await player.ready;
    player.report({ position: 9999, state: "playing" });
    await vi.waitFor(() => expect(player.pending).toBe(0));
    player.report({ position: 2, state: "paused" });
    await vi.waitFor(() => expect(player.pending).toBe(0));
    expect(errors).toEqual(["bad_request 1"]);
    expect(heard().map((beat) => beat.seq)).toEqual([1, 2]);
  });

  it("finds the one bad beat of a batch that is refused as a whole", async () => {
    const storage = createMemoryStorage();
    const shelf = ["a", "bad", "c"].map((fileId, index) => ({
      ...{ fileId, positionMs: 1, state: "paused", rate: 1, ageMs: 5, epoch: 0 },
      ...{ sessionId: "old", seq: index + 1, played: [], sent: false },
    }));
    const key = `playhead:beats:${encodeURIComponent(server.url)}:u:old`;
    storage.set(key, JSON.stringify({ savedAtMs: Date.now(), closed: true, beats: shelf }));
    const refusal = { ok: false, error: { code: "bad_request", message: "no" } };
    server.handle("heartbeats", (_, reply) => reply(refusal));
    server.handle("heartbeat", (beat: Heartbeat, reply) => reply(beat.fileId === "bad" ? refusal : accepted(beat)));
    const player = open({ storage, userId: "u" });
    await player.ready;
    await vi.waitFor(() => expect(player.pending).toBe(0));
    expect(heard().map((beat) => beat.fileId)).toEqual(["a", "bad", "c", "a", "bad", "c"]);
  });

  it("sends the beats that an earlier page left before it asks where to resume", async () => {
    const storage = createMemoryStorage();
    const first = open({ storage, userId: "u" });
    await first.ready;
    await server.stop();
    await vi.waitFor(() => expect(first.state).not.toBe("online"));
    first.played(0, 4);
    first.report({ position: 4, state: "paused" });
    await first.close();
    expect(storage.map.size).toBe(1);
    await server.start();
    server.calls.length = 0;
    const second = open({ storage, userId: "u" });
    await second.ready;
    expect(server.calls.map(({ event }) => event)).toEqual(["heartbeat", "progress:get"]);
    expect(heard()[0]).toMatchObject({ sessionId: first.sessionId, position: 4, played: [[0, 4]] });
    expect(storage.map.size).toBe(0);
  });

  it("sends the epoch that it learned with its beats, and begins with nothing played after a reset", async () => {
    const player = open();
    await player.ready;
    player.played(0, 2);
    server.handle("progress:reset", (_, reply) => {
      server.handle("progress:get", (_get, replyGet) => replyGet({ ok: true, progress: progressOf({ epoch: 1 }) }));
      reply({ ok: true });
    });
    expect(await player.reset()).toMatchObject({ ok: true });
    player.report({ position: 0, state: "paused" });
    await vi.waitFor(() => expect(player.pending).toBe(0));
    expect(heard().at(-1)).toMatchObject({ epoch: 1, played: [] });
  });

  it("passes on what another device did, and ignores a version that comes late", async () => {
    const player = open();
    await player.ready;
    const positions: number[] = [];
    player.on("progress", (progress, from) => from === "remote" && positions.push(progress.position));
    server.io.of("/player").emit("progress", progressOf({ position: 30, version: 50 }));
    server.io.of("/player").emit("progress", progressOf({ position: 20, version: 40 }));
    await vi.waitFor(() => expect(positions).toEqual([30]));
    expect(player.progress?.position).toBe(30);
  });
});

/** Lets the server answer a beat as it would answer whole, and briefly on request. */
function acceptedBriefly(beat: Heartbeat, base: FileProgress) {
  const watched: [number, number][] = [[0, beat.position]];
  const whole = progressOf({
    ...{ position: beat.position, resumeAt: beat.position - 2, watched, watchedSeconds: beat.position },
    ...{ watchTimeSeconds: beat.position, percentage: Math.floor((beat.position / 60) * 10_000) / 100 },
    lastWatched: new Date(Date.parse(base.lastWatched ?? "") + 1234).toISOString(),
  });
  return { whole, brief: { ok: true, version: whole.version, base: base.version, laterMs: 1234, nextBeatMs: 10_000 } };
}

describe("a player that is acked briefly", () => {
  const START = { position: 10, resumeAt: 8, watched: [[0, 10]] as [number, number][], watchedSeconds: 10 };
  const start = () => progressOf({ ...START, watchTimeSeconds: 10, lastWatched: "2026-03-01T12:00:00.000Z" });

  function playOn(player: Player, from: number, to: number): void {
    player.played(from, to);
    player.report({ position: to, state: to % 2 === 0 ? "playing" : "paused" });
  }

  it("asks for it at the handshake", async () => {
    const asked: unknown[] = [];
    server.io.of("/player").on("connection", (socket) => asked.push(socket.handshake.auth));
    await open().ready;
    expect(asked).toEqual([{ token: "t", acks: "brief" }]);
  });

  it("makes the whole progress of every brief ack", async () => {
    const wholes = [start()];
    server.handle("progress:get", (_, reply) => reply({ ok: true, progress: wholes[0] }));
    server.handle("heartbeat", (beat: Heartbeat, reply) => {
      const { whole, brief } = acceptedBriefly(beat, wholes.at(-1) as FileProgress);
      wholes.push(whole);
      reply(brief);
    });
    const player = open();
    const told: [FileProgress, string][] = [];
    player.on("progress", (progress, source) => told.push([progress, source]));
    await player.ready;
    for (const to of [14, 21, 30]) {
      playOn(player, (wholes.at(-1) as FileProgress).position, to);
      await vi.waitFor(() => expect(player.pending).toBe(0));
    }
    expect(told.map(([progress]) => JSON.stringify(progress))).toEqual(wholes.map((whole) => JSON.stringify(whole)));
    expect(told.map(([, source]) => source)).toEqual(["read", "acked", "acked", "acked"]);
    expect(player.progress).toEqual(wholes.at(-1));
    expect(player.watched).toEqual([[0, 30]]);
  });

  it("reads the progress where the ack builds on a version that never arrived, and tells nothing else meanwhile", async () => {
    const lost = start();
    const missed = progressOf({ ...START, position: 12, watchedSeconds: 12, lastWatched: lost.lastWatched });
    const stored = [lost];
    server.handle("progress:get", (_, reply) => reply({ ok: true, progress: stored.at(-1) }));
    server.handle("heartbeat", (beat: Heartbeat, reply) => {
      const { whole, brief } = acceptedBriefly(beat, missed);
      stored.push(whole);
      reply(brief);
    });
    const player = open();
    const told: number[] = [];
    player.on("progress", ({ version }) => told.push(version));
    await player.ready;
    playOn(player, 10, 15);
    await vi.waitFor(() => expect(told).toHaveLength(2));
    expect(player.progress).toEqual(stored.at(-1));
    expect(told).toEqual(stored.map((progress) => progress.version));
    expect(server.calls.at(-1)).toEqual({
      event: "progress:get",
      payload: { fileId: "f", minVersion: stored.at(-1)?.version },
    });
  });

  it("takes an ack without a base for the progress that it holds, whichever beat of a batch it answers", async () => {
    const stored = start();
    server.handle("progress:get", (_, reply) => reply({ ok: true, progress: stored }));
    server.handle("heartbeats", (_, reply) => {
      const unchanged = { ok: true, version: stored.version, resumeAt: 0, nextBeatMs: 10_000 };
      reply({ ok: true, results: [{ ok: true, progress: stored, nextBeatMs: 10_000 }, unchanged] });
    });
    const player = open();
    await player.ready;
    const told: FileProgress[] = [];
    player.on("progress", (progress) => told.push(progress));
    server.handle("heartbeat", () => undefined);
    server.io.of("/player").disconnectSockets(true);
    await vi.waitFor(() => expect(player.state).not.toBe("online"));
    playOn(player, 10, 15);
    playOn(player, 10, 16);
    await vi.waitFor(() => expect(player.pending).toBe(0), { timeout: 5000 });
    expect(told.slice(0, 2)).toEqual([stored, { ...stored, resumeAt: 0 }]);
  });

  it("tells nothing of a brief ack for another file's beat", async () => {
    const storage = createMemoryStorage();
    const left = { fileId: "other", positionMs: 1, state: "paused", rate: 1, ageMs: 5, epoch: 0 };
    const beats = [{ ...left, sessionId: "old", seq: 1, played: [], sent: true }];
    const key = `playhead:beats:${encodeURIComponent(server.url)}:u:old`;
    storage.set(key, JSON.stringify({ savedAtMs: Date.now(), closed: true, beats }));
    server.handle("heartbeat", (_, reply) =>
      reply({ ok: true, version: 999, base: 998, laterMs: 1, nextBeatMs: 10_000 }),
    );
    const player = open({ storage, userId: "u" });
    const told: number[] = [];
    player.on("progress", ({ version }) => told.push(version));
    await player.ready;
    await vi.waitFor(() => expect(player.pending).toBe(0));
    expect(told).toEqual([player.progress?.version]);
    expect(server.calls.map(({ event }) => event)).toEqual(["heartbeat", "progress:get"]);
  });
});

describe("a player's connection", () => {
  it("comes back with a fresh token after the server ended it", async () => {
    let count = 0;
    const player = open({ token: () => `t${++count}` });
    await player.ready;
    server.io.of("/player").disconnectSockets(true);
    await vi.waitFor(() => expect(server.tokens).toEqual(["t1", "t2"]), { timeout: 5000 });
    await vi.waitFor(() => expect(player.state).toBe("online"));
  });

  it("hands in a new token before the old one ends", async () => {
    let count = 0;
    const player = open({ token: async () => `t${++count}` });
    await player.ready;
    server.handle("token:refresh", (_, reply) => reply({ ok: true, expiresAt: "" }));
    server.io.of("/player").emit("session:expiring", { expiresAt: "" });
    await vi.waitFor(() => expect(server.calls.at(-1)).toEqual({ event: "token:refresh", payload: { token: "t2" } }));
    expect(player.state).toBe("online");
  });

  it("calls itself expired where its only token is refused, and does not offer that token again", async () => {
    server.refuse = { code: "unauthenticated" };
    const player = open({ token: "old" });
    await vi.waitFor(() => expect(player.state).toBe("expired"));
    expect(server.tokens).toEqual(["old"]);
  });

  it("tries again where the server could not check the token", async () => {
    server.refuse = { code: "unavailable", retryAfterMs: 20 };
    const player = open();
    await vi.waitFor(() => expect(server.tokens.length).toBeGreaterThan(1));
    server.refuse = null;
    await vi.waitFor(() => expect(player.state).toBe("online"));
  });

  it("connects again within the time that a draining server gives", async () => {
    const player = open();
    await player.ready;
    server.io.of("/player").emit("server:draining", { reconnectInMs: 30 });
    await vi.waitFor(() => expect(server.tokens).toHaveLength(2));
    await vi.waitFor(() => expect(player.state).toBe("online"));
  });
});
