import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { CourseProgress, FileProgress } from "../protocol/progress.ts";
import { createCachedReader } from "./cached-reader.ts";
import type { CacheAnswer, CacheKey, ProgressCache } from "./progress-cache.ts";
import type { ProgressReader } from "./progress-reader.ts";

const file = (version: number) => ({ userId: "alice", fileId: "f1", version }) as FileProgress;

/** A cache in memory, and a source that counts who asks. */
function createWorld() {
  const kept = new Map<string, { version: number; value: object }>();
  const nameOf = ({ kind, userId, id }: CacheKey) => `${kind} ${userId} ${id}`;
  const filled: [string, number][] = [];
  const cache: ProgressCache = {
    async get<T extends object>(
      key: CacheKey,
      { minVersion, isCurrent }: { minVersion: number; isCurrent: boolean },
    ): Promise<CacheAnswer<T>> {
      const entry = isCurrent ? kept.get(nameOf(key)) : undefined;
      return {
        kept: entry !== undefined && entry.version >= minVersion ? (entry.value as T) : null,
        async fill(version, value) {
          filled.push([nameOf(key), version]);
          kept.set(nameOf(key), { version, value });
        },
      };
    },
    outdate: async () => undefined,
    outdateAll: async () => undefined,
    forgetUser: async () => undefined,
  };
  const source = {
    readFile: vi.fn(async () => file(1)),
    readCourse: vi.fn(async () => ({ version: 3, lessons: [{ version: 2 }], files: [file(7), file(1)] }) as never),
  };
  const world = { isBehind: false };
  const reader = createCachedReader({
    reader: source as unknown as ProgressReader,
    cache,
    isBehind: () => world.isBehind,
  });
  return { world, reader, source, filled, kept };
}

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["performance"] });
});
afterEach(() => {
  vi.useRealTimers();
});

describe("createCachedReader", () => {
  it("fills the cache with a value that it read, and serves the next read from the cache", async () => {
    const { reader, source, filled } = createWorld();
    expect(await reader.readFile("alice", "f1")).toEqual(file(1));
    expect(await reader.readFile("alice", "f1")).toEqual(file(1));
    expect(source.readFile).toHaveBeenCalledTimes(1);
    expect(filled).toEqual([["file alice f1", 1]]);
  });

  it("asks the source as long as changes may be missed", async () => {
    const { world, reader, source } = createWorld();
    await reader.readFile("alice", "f1");
    world.isBehind = true;
    await reader.readFile("alice", "f1");
    expect(source.readFile).toHaveBeenCalledTimes(2);
    world.isBehind = false;
    await reader.readFile("alice", "f1");
    expect(source.readFile).toHaveBeenCalledTimes(2);
  });

  it("caches a course under the highest version of the course and its files", async () => {
    const { reader, filled } = createWorld();
    expect(((await reader.readCourse("alice", "c1")) as CourseProgress).version).toBe(3);
    expect(filled).toEqual([["course alice c1", 7]]);
  });

  it("caches nothing that has no row: a reset of the course changes it without a notification", async () => {
    const { reader, source, filled } = createWorld();
    source.readFile.mockResolvedValue({ ...file(4), lastWatched: null } as FileProgress);
    source.readCourse.mockResolvedValue({ version: 0, lessons: [], files: [file(4)] } as never);
    await reader.readFile("alice", "f1");
    await reader.readCourse("alice", "c1");
    expect(filled).toEqual([]);
  });

  it("reads from the source if the reader was acked a later version than the cache has", async () => {
    const { reader, source } = createWorld();
    await reader.readFile("alice", "f1");
    source.readFile.mockResolvedValue(file(5));
    expect(await reader.readFile("alice", "f1", 5)).toEqual(file(5));
    expect(await reader.readFile("alice", "f1")).toEqual(file(5));
    expect(source.readFile).toHaveBeenCalledTimes(2);
  });

  it("shares one read among all who ask meanwhile, except a reader who was acked a later version", async () => {
    const { reader, source } = createWorld();
    const answers = await Promise.all([
      ...Array.from({ length: 20 }, () => reader.readFile("alice", "f1")),
      reader.readFile("alice", "f1", 9),
      reader.readFile("bob", "f1"),
    ]);
    expect(answers).toHaveLength(22);
    expect(source.readFile).toHaveBeenCalledTimes(3);
  });

  it("fails for all who share a failed read, and reads again at the next call", async () => {
    const { reader, source } = createWorld();
    source.readFile.mockRejectedValueOnce(new Error("the database is away"));
    const both = await Promise.allSettled([reader.readFile("alice", "f1"), reader.readFile("alice", "f1")]);
    expect(both.map(({ status }) => status)).toEqual(["rejected", "rejected"]);
    expect(await reader.readFile("alice", "f1")).toEqual(file(1));
  });

  it("reads from the source right after a write of the same user, and from the cache again soon after", async () => {
    const { reader, source } = createWorld();
    await reader.readFile("alice", "f1");
    reader.wrote("alice");
    source.readFile.mockResolvedValue(file(2));
    expect(await reader.readFile("alice", "f1")).toEqual(file(2));
    expect(await reader.readFile("bob", "f1")).toEqual(file(2));
    vi.advanceTimersByTime(3000);
    expect(await reader.readFile("alice", "f1")).toEqual(file(1));
  });
});
