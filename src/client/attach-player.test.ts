import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeMedia } from "../../test/helpers/fake-media.ts";
import { type FakeProgressServer, startFakeProgressServer } from "../../test/helpers/fake-progress-server.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import { attachPlayer } from "./attach-player.ts";
import type { Player } from "./player-api.ts";

let server: FakeProgressServer;
let media: FakeMedia;
let player: Player | null;
let resumeAt: number;

beforeEach(async () => {
  server = await startFakeProgressServer();
  media = new FakeMedia();
  player = null;
  resumeAt = 0;
  const progress = (position: number) => ({ fileId: "f", position, resumeAt, epoch: 0, version: 1, watched: [] });
  server.handle("progress:get", (_, reply) => reply({ ok: true, progress: progress(0) }));
  server.handle("heartbeat", (beat: Heartbeat, reply) =>
    reply({ ok: true, progress: progress(beat.position), nextBeatMs: 10_000 }),
  );
});

afterEach(async () => {
  await player?.close();
  await server.stop();
});

async function attach(): Promise<Player> {
  const options = { url: server.url, token: "t", fileId: "f", storage: null };
  player = attachPlayer(media as unknown as HTMLMediaElement, options);
  await player.ready;
  return player;
}

function beats(): Heartbeat[] {
  return server.calls.filter(({ event }) => event === "heartbeat").map(({ payload }) => payload as Heartbeat);
}

async function waitUntilPosition(seconds: number): Promise<void> {
  await vi.waitFor(() => expect(media.currentTime).toBeGreaterThan(seconds), { timeout: 5000, interval: 10 });
}

/** The ranges that were claimed as played, in seconds. */
function claimed(): [number, number][] {
  return beats().flatMap((beat) => beat.played ?? []);
}

describe("a player attached to a media element", () => {
  it("resumes where the user left off, and sends nothing until the user plays", async () => {
    resumeAt = 30;
    await attach();
    await vi.waitFor(() => expect(media.seeking).toBe(false));
    expect(media.currentTime).toBe(30);
    player?.beat();
    expect(player?.pending).toBe(0);
    media.play();
    await vi.waitFor(() => expect(beats()[0]).toMatchObject({ position: expect.closeTo(30, 0), state: "playing" }));
  });

  it("stays where the user sought before the stored progress came", async () => {
    resumeAt = 30;
    const attached = attach();
    media.currentTime = 5;
    await attached;
    await vi.waitFor(() => expect(media.seeking).toBe(false));
    expect(media.currentTime).toBe(5);
  });

  it("claims exactly the range that played until the pause", async () => {
    await attach();
    media.play();
    await waitUntilPosition(0.7);
    media.pause();
    await vi.waitFor(() => expect(beats().at(-1)?.state).toBe("paused"));
    await vi.waitFor(() => expect(player?.pending).toBe(0));
    expect(claimed()).toHaveLength(1);
    expect(claimed()[0]?.[0]).toBeCloseTo(0, 1);
    expect(claimed()[0]?.[1]).toBeCloseTo(media.currentTime, 2);
  });

  it("claims nothing for a seek, and sends the position where it ended", async () => {
    await attach();
    media.currentTime = 50;
    await vi.waitFor(() => expect(beats().at(-1)).toMatchObject({ position: 50, state: "paused", played: [] }));
    media.play();
    await waitUntilPosition(50.4);
    media.currentTime = 10;
    await waitUntilPosition(0);
    await vi.waitFor(() => expect(media.currentTime).toBeGreaterThan(10.4), { timeout: 5000 });
    media.pause();
    await vi.waitFor(() => expect(player?.pending).toBe(0));
    const parts = claimed();
    expect(parts.every(([from, to]) => (from >= 50 && to < 52) || (from >= 10 && to < 12))).toBe(true);
    expect(parts.some(([from]) => from >= 50)).toBe(true);
    expect(parts.some(([from]) => from < 12)).toBe(true);
  });

  it("sends the position at the end of a drag, and not at every step", async () => {
    await attach();
    media.currentTime = 1;
    await vi.waitFor(() => expect(beats()).toHaveLength(1));
    for (let step = 1; step <= 12; step++) {
      media.currentTime = step * 10;
      await vi.waitFor(() => expect(media.seeking).toBe(false), { interval: 5 });
    }
    await vi.waitFor(() => expect(beats().at(-1)?.position).toBe(120));
    expect(beats().length).toBeLessThan(6);
  });

  it("sends a rate of 0 while it stalls, so that no dashboard extrapolates", async () => {
    await attach();
    media.play();
    await vi.waitFor(() => expect(beats().at(-1)?.rate).toBe(1));
    media.readyState = 2;
    await vi.waitFor(() => expect(beats().at(-1)).toMatchObject({ state: "playing", rate: 0 }));
  });
});
