import { beforeEach, describe, expect, it, vi } from "vitest";
import type { FakeProgressServer } from "../../test/helpers/fake-progress-server.ts";
import { type Players, usePlayers } from "../../test/helpers/players.ts";
import {
  createMemoryStorage,
  heardBy,
  type MemoryStorage,
  takeEverything,
  unsignedTokenOf,
} from "../../test/helpers/sdk-player.ts";
import type { Player, PlayerOptions } from "./player-api.ts";

let server: FakeProgressServer;
let storage: MemoryStorage;
let players: Players;
usePlayers((started) => {
  players = started;
  ({ server } = started);
});
beforeEach(() => {
  storage = createMemoryStorage();
});

function open(more: Partial<PlayerOptions> = {}): Player {
  return players.open({ token: unsignedTokenOf("alice"), storage, ...more });
}

function play(player: Player, from: number, to: number, state: "playing" | "paused" = "paused"): void {
  player.played(from, to);
  player.report({ position: to, state });
}

/** A token function that never answers, as where its server cannot be reached. */
const never = () => new Promise<string>(() => undefined);

describe("kept beats", () => {
  it.each([
    ["the option userId", { userId: "alice", token: never }],
    ["a token string", { token: unsignedTokenOf("alice") }],
  ])("are kept from the first one, under the user of %s, while the server cannot be reached", async (_, options) => {
    await server.stop();
    const player = open(options);
    play(player, 0, 4);
    await vi.waitFor(() => expect(storage.owners()).toEqual(["alice"]));
    await player.close();
    await server.start();
    const next = open();
    await vi.waitFor(() => expect(heardBy(server)).toMatchObject([{ sessionId: player.sessionId, played: [[0, 4]] }]));
    await vi.waitFor(() => expect(next.pending).toBe(0));
  });

  it("are kept under the user who was here last, until a token names the user", async () => {
    const first = open({ token: () => unsignedTokenOf("alice") });
    await first.ready;
    await first.close();
    let sendToken = (_: string) => {};
    const second = open({
      token: () =>
        new Promise<string>((resolve) => {
          sendToken = resolve;
        }),
    });
    play(second, 0, 4);
    expect(storage.owners()).toEqual(["alice"]);
    await server.stop();
    await vi.waitFor(() => {
      sendToken(unsignedTokenOf("bob"));
      expect(storage.owners()).toEqual(["bob"]);
    });
    await server.start();
  });

  it("of an earlier page are not sent before a token names their user", async () => {
    await server.stop();
    const first = open({ token: () => unsignedTokenOf("alice") });
    play(first, 0, 4);
    await vi.waitFor(() => expect(storage.owners()).toEqual(["alice"]));
    await first.close();
    await server.start();
    const bob = open({ token: () => unsignedTokenOf("bob") });
    await bob.ready;
    play(bob, 10, 12);
    await vi.waitFor(() => expect(bob.pending).toBe(0));
    expect(heardBy(server).flatMap((beat) => beat.played)).toEqual([[10, 12]]);
    expect(storage.owners()).toEqual(["alice"]);
  });
});

describe("a player whose token function answers with another user's token", () => {
  it("stops, says so, and leaves the beats with the user who made them", async () => {
    let user = "alice";
    const player = open({ token: () => unsignedTokenOf(user) });
    const errors: string[] = [];
    player.on("error", (error) => errors.push(error.code));
    await player.ready;
    server.handle("heartbeat", () => undefined);
    play(player, 0, 4);
    await vi.waitFor(() => expect(heardBy(server)).toHaveLength(1));
    user = "bob";
    server.io.of("/player").disconnectSockets(true);
    await vi.waitFor(() => expect(errors).toEqual(["user_changed"]), { timeout: 5000 });
    play(player, 4, 8);
    expect(server.tokens).toEqual([unsignedTokenOf("alice")]);
    expect(heardBy(server)).toHaveLength(1);
    expect(storage.owners()).toEqual(["alice"]);
    takeEverything(server);
    const alice = open();
    await vi.waitFor(() => expect(heardBy(server)[1]).toMatchObject({ sessionId: player.sessionId, played: [[0, 4]] }));
    await vi.waitFor(() => expect(alice.pending).toBe(0));
  });

  it("does not offer that token to the open connection", async () => {
    let user = "alice";
    const player = open({ token: () => unsignedTokenOf(user) });
    const errors: string[] = [];
    player.on("error", (error) => errors.push(error.code));
    await player.ready;
    user = "bob";
    server.io.of("/player").emit("session:expiring", { expiresAt: "" });
    await vi.waitFor(() => expect(errors).toEqual(["user_changed"]));
    expect(server.calls.map(({ event }) => event)).not.toContain("token:refresh");
  });
});

describe("a slow token function", () => {
  it("has one call under way, however often an attempt begins, and its answer connects", async () => {
    const answers: (() => void)[] = [];
    const player = open({
      token: () =>
        new Promise<string>((resolve) => {
          answers.push(() => resolve(unsignedTokenOf("alice", answers.length)));
        }),
    });
    await vi.waitFor(() => expect(answers).toHaveLength(1));
    // The server ends connections that bring no token for a while. There is none, as there is no token yet.
    expect(server.io.engine.clientsCount).toBe(0);
    answers[0]?.();
    await vi.waitFor(() => expect(player.state).toBe("online"));
    server.handle("token:refresh", (_, reply) => reply({ ok: true, expiresAt: "" }));
    for (let warning = 0; warning < 3; warning++) server.io.of("/player").emit("session:expiring", { expiresAt: "" });
    await vi.waitFor(() => expect(answers).toHaveLength(2));
    answers[1]?.();
    await vi.waitFor(() => expect(server.calls.map(({ event }) => event)).toContain("token:refresh"));
    expect(answers).toHaveLength(2);
  });

  it("is called again after it failed", async () => {
    let calls = 0;
    const player = open({
      token: () => {
        if (++calls === 1) throw new Error("signed out");
        return unsignedTokenOf("alice");
      },
    });
    await vi.waitFor(() => expect(player.state).toBe("online"), { timeout: 5000 });
    expect(calls).toBe(2);
  });
});
