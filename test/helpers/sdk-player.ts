import type { BeatStorage } from "../../src/client/beat-storage.ts";
import type { Heartbeat } from "../../src/protocol/heartbeat.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import type { FakeProgressServer } from "./fake-progress-server.ts";

/** The progress of a file of 60 s that nobody has watched, and what the test changes in it. */
export function progressOf(more: Partial<FileProgress> = {}): FileProgress {
  return {
    ...{ userId: "u", fileId: "f", lessonId: "l", courseId: "c", position: 0, resumeAt: 0, duration: 60 },
    ...{ watched: [], watchedSeconds: 0, watchTimeSeconds: 0, percentage: 0, completed: false, lastWatched: null },
    ...{ epoch: 0, version: 1 },
    ...more,
  };
}

/** Lets the server take every heartbeat, and answer every question with `stored`. */
export function takeEverything(server: FakeProgressServer, stored: Partial<FileProgress> = {}): void {
  let version = 1;
  const accept = (beat: Heartbeat) => ({
    ok: true,
    progress: progressOf({ ...stored, fileId: beat.fileId, position: beat.position, version: ++version }),
    nextBeatMs: 10_000,
  });
  server.handle("progress:get", ({ fileId }: { fileId: string }, reply) =>
    reply({ ok: true, progress: progressOf({ fileId, ...stored, version }) }),
  );
  server.handle("heartbeat", (beat: Heartbeat, reply) => reply(accept(beat)));
  server.handle("heartbeats", ({ beats }: { beats: Heartbeat[] }, reply) =>
    reply({ ok: true, results: beats.map(accept) }),
  );
}

/** Every beat that the server heard, alone or in a batch. */
export function heardBy(server: FakeProgressServer): Heartbeat[] {
  return server.calls.flatMap(({ event, payload }) => {
    if (event === "heartbeat") return [payload as Heartbeat];
    return event === "heartbeats" ? (payload as { beats: Heartbeat[] }).beats : [];
  });
}

export interface MemoryStorage extends BeatStorage {
  map: Map<string, string>;
  /** The users whose beats are kept. */
  owners(): string[];
}

export function createMemoryStorage(): MemoryStorage {
  const map = new Map<string, string>();
  return {
    map,
    keys: () => [...map.keys()],
    get: (key) => map.get(key) ?? null,
    set: (key, text) => void map.set(key, text),
    delete: (key) => void map.delete(key),
    owners: () =>
      [...map.keys()].filter((key) => key.startsWith("playhead:beats:")).map((key) => key.split(":")[3] ?? ""),
  };
}

/** A token that names a user. No server would take it. */
export function unsignedTokenOf(userId: string, serial = 0): string {
  const payload = Buffer.from(JSON.stringify({ sub: userId, serial })).toString("base64url");
  return `e30.${payload}.x`;
}
