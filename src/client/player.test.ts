import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type FakeProgressServer, startFakeProgressServer } from "../../test/helpers/fake-progress-server.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import type { BeatStorage } from "./beat-storage.ts";
import { createPlayer, type Player, type PlayerOptions } from "./player.ts";

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

/** Every beat that the server heard, singles and batches alike. */
function heard(): Heartbeat[] {
  return server.calls.flatMap(({ event, payload }) => {
    if (event === "heartbeat") return [payload as Heartbeat];
    return event === "heartbeats" ? (payload as { beats: Heartbeat[] }).beats : [];
  });
}

function createMemoryStorage(): BeatStorage & { map: Map<string, string> } {
  const map = new Map<string, string>();
  return {
    map,
    keys: () => [...map.keys()],
    get: (key) => map.get(key) ?? null,
    set: (key, text) => void map.set(key, text),
    delete: (key) => void map.delete(key),
  };
}

describe("a player", () => {
  it("says nothing before it was told something", async () => {
    const player = open();
    await player.ready;
    expect(heard()).toEqual([]);
  });

  it("tells the pause at once, with what was played until then", async () => {
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

  it("beats at the pace the server asks for", async () => {
    server.handle("heartbeat", (beat: Heartbeat, reply) => reply({ ...accepted(beat), nextBeatMs: 20 }));
    const player = open();
    await player.ready;
    player.report({ position: 1 });
    await vi.waitFor(() => expect(player.pending).toBe(0));
    player.beat();
    await vi.waitFor(() => expect(heard().length).toBeGreaterThan(4));
  });

  it("lets the age of a paused player's beats grow from the pause", async () => {
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

  it("sends an unanswered beat again after a reconnect, the same in all but its age", async () => {
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

  it("keeps what is played while the server is away, and brings it when it is back", async () => {
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

  it("drops a beat the server will never take, says so, and goes on", async () => {
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

  it("finds the one bad beat where the batch is refused as a whole", async () => {
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

  it("sends what an earlier page left behind before it asks where to resume", async () => {
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

  it("sends the epoch it learned with its beats, and starts from nothing after a reset", async () => {
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

  it("tells what another device did, and ignores what comes late", async () => {
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

  it("says that a token is expired, and stops offering it", async () => {
    server.refuse = { code: "unauthenticated" };
    const player = open({ token: "old" });
    await vi.waitFor(() => expect(player.state).toBe("expired"));
    expect(server.tokens).toEqual(["old"]);
  });

  it("tries again where the server is only too busy to check the token", async () => {
    server.refuse = { code: "unavailable", retryAfterMs: 20 };
    const player = open();
    await vi.waitFor(() => expect(server.tokens.length).toBeGreaterThan(1));
    server.refuse = null;
    await vi.waitFor(() => expect(player.state).toBe("online"));
  });

  it("moves to another node within the time a draining one gives", async () => {
    const player = open();
    await player.ready;
    server.io.of("/player").emit("server:draining", { reconnectInMs: 30 });
    await vi.waitFor(() => expect(server.tokens).toHaveLength(2));
    await vi.waitFor(() => expect(player.state).toBe("online"));
  });
});
