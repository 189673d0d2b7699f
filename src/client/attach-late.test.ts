import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { FakeMedia } from "../../test/helpers/fake-media.ts";
import { type FakeProgressServer, startFakeProgressServer } from "../../test/helpers/fake-progress-server.ts";
import { createMemoryStorage, heardBy, progressOf, takeEverything } from "../../test/helpers/sdk-player.ts";
import { type AttachOptions, attachPlayer } from "./attach-player.ts";
import type { Player } from "./player-api.ts";

let server: FakeProgressServer;
let media: FakeMedia;
let player: Player;

beforeEach(async () => {
  server = await startFakeProgressServer();
  media = new FakeMedia();
  takeEverything(server);
});

afterEach(async () => {
  await player.close();
  await server.stop();
});

function attach(more: Partial<AttachOptions> = {}): Player {
  const options = { url: server.url, token: "t", fileId: "f", storage: null, ...more };
  player = attachPlayer(media as unknown as HTMLMediaElement, options);
  return player;
}

/** Lets the server answer the question for the stored place when the test says so. */
function holdPlace(position: number): () => void {
  const stored = progressOf({ position, resumeAt: position - 2 });
  let send = () => {};
  server.handle("progress:get", (_, reply) => {
    send = () => reply({ ok: true, progress: stored });
  });
  return () => send();
}

async function waitUntilAsked(): Promise<void> {
  await vi.waitFor(() => expect(server.calls.map(({ event }) => event)).toContain("progress:get"));
}

describe("a stored place that comes late", () => {
  it("is resumed at where nobody has sought, and was never written over", async () => {
    const sendPlace = holdPlace(40);
    attach();
    media.play();
    await waitUntilAsked();
    await vi.waitFor(() => expect(media.currentTime).toBeGreaterThan(0.3));
    expect(heardBy(server)).toEqual([]);
    sendPlace();
    await vi.waitFor(() => expect(media.currentTime).toBeGreaterThanOrEqual(38));
    await vi.waitFor(() => expect(media.seeking).toBe(false));
    media.pause();
    await vi.waitFor(() => expect(heardBy(server).at(-1)?.state).toBe("paused"));
    expect(Math.min(...heardBy(server).map(({ position }) => position))).toBeGreaterThanOrEqual(38);
  });

  it("is resumed at when the media turns out to be long enough, and ends no media that seems too short", async () => {
    media.duration = 20;
    takeEverything(server, { position: 40, resumeAt: 38 });
    attach();
    await player.ready;
    expect(media.currentTime).toBe(0);
    media.duration = 60;
    media.dispatchEvent(new Event("durationchange"));
    expect(media.currentTime).toBe(38);
  });

  it("moves nobody who has sought", async () => {
    const sendPlace = holdPlace(40);
    attach();
    media.currentTime = 5;
    await waitUntilAsked();
    sendPlace();
    await player.ready;
    await vi.waitFor(() => expect(media.seeking).toBe(false));
    expect(media.currentTime).toBe(5);
  });

  it("is taken from the beats that the page before left, while the server cannot be reached", async () => {
    const storage = createMemoryStorage();
    await server.stop();
    attach({ storage, userId: "u" });
    media.currentTime = 20;
    await vi.waitFor(() => expect(player.pending).toBe(1));
    await player.close();
    media = new FakeMedia();
    attach({ storage, userId: "u" });
    await vi.waitFor(() => expect(media.currentTime).toBe(18));
    await server.start();
  });
});

describe("a live stream", () => {
  it("is neither resumed nor credited, and its viewer is present", async () => {
    media.duration = Number.POSITIVE_INFINITY;
    takeEverything(server, { position: 40, resumeAt: 38 });
    attach();
    await player.ready;
    media.play();
    await vi.waitFor(() => expect(media.currentTime).toBeGreaterThan(0.6));
    expect(media.currentTime).toBeLessThan(38);
    media.pause();
    await vi.waitFor(() => expect(heardBy(server).at(-1)?.state).toBe("paused"));
    expect(heardBy(server)[0]).toMatchObject({ state: "playing", position: 0, rate: 0 });
    expect(heardBy(server).flatMap(({ played }) => played)).toEqual([]);
  });
});
