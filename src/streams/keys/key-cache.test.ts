import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Stream } from "../../protocol/stream.ts";
import { KeyCache, type KnownKey } from "./key-cache.ts";
import { hashStreamKey } from "./stream-key.ts";

/*
 * What is cached of keys, while the database changes. In slow mode, reads wait until the test lets them go.
 */

let cache: KeyCache;
/** Stream → title, by key. */
let stored: Map<string, { id: string; title: string }>;
let reads: { hashes: string[]; answer: () => Promise<void>; fail: (error: Error) => Promise<void> }[];
let isSlow: boolean;
let readKeys: (hashes: string[]) => Promise<Map<string, KnownKey>>;

const hashOf = (key: string) => hashStreamKey(key).toString("hex");
const A = hashOf("key-a");
const B = hashOf("key-b");

beforeEach(() => {
  vi.useFakeTimers();
  stored = new Map([
    [A, { id: "a", title: "first" }],
    [B, { id: "b", title: "first" }],
  ]);
  reads = [];
  isSlow = false;
  readKeys = async (hashes) => {
    const found = new Map<string, KnownKey>();
    for (const hash of hashes) {
      const stream = stored.get(hash);
      if (stream !== undefined)
        found.set(hash, { stream: stream as unknown as Stream, policy: "first_wins", goodUntil: null });
    }
    const read = { hashes };
    if (!isSlow) reads.push({ ...read, answer: async () => undefined, fail: async () => undefined });
    else {
      await new Promise<void>((resolve, reject) => {
        const settle = async (work: () => void) => {
          work();
          await vi.advanceTimersByTimeAsync(0);
        };
        reads.push({ ...read, answer: () => settle(resolve), fail: (error) => settle(() => reject(error)) });
      });
    }
    return found;
  };
  cache = new KeyCache({ readKeys });
});
afterEach(() => {
  vi.useRealTimers();
});

const titleOf = (hash: string) => cache.find(hash)?.stream.title;

/** Follows a notification of the stream. */
function refreshStream(streamId: string): Promise<void> {
  cache.forgetStream(streamId);
  return cache.refreshForgotten();
}

/** Looks the key up as claims do. */
async function load(hash: string): Promise<KnownKey | null> {
  const reading = cache.startReading();
  try {
    const known = (await readKeys([hash])).get(hash);
    if (known !== undefined) reading.keep(hash, known);
    return known ?? null;
  } finally {
    reading.end();
  }
}

describe("the cache of keys", () => {
  it("has nothing before the first look-up, and then what the database said", async () => {
    expect(cache.find(A)).toBeUndefined();
    expect(await load(A)).toMatchObject({ stream: { id: "a" } });
    expect(titleOf(A)).toBe("first");
  });

  it("does not remember that a key belongs to no stream: a key made a moment later is found at once", async () => {
    expect(await load(hashOf("new"))).toBeNull();
    stored.set(hashOf("new"), { id: "new", title: "first" });
    expect(await load(hashOf("new"))).toMatchObject({ stream: { id: "new" } });
  });

  it("loses no right key, however many wrong keys come", async () => {
    await load(A);
    for (let i = 0; i < 1000; i++) await load(hashOf(`wrong-${i}`));
    expect(titleOf(A)).toBe("first");
  });

  it("reads the keys of a changed stream again, and no others", async () => {
    await Promise.all([load(A), load(B)]);
    reads = [];
    stored.set(A, { id: "a", title: "second" });
    await refreshStream("a");
    expect([titleOf(A), titleOf(B)]).toEqual(["second", "first"]);
    expect(reads.map(({ hashes }) => hashes)).toEqual([[A]]);
  });

  it("forgets a key that was rotated, or whose stream was deleted", async () => {
    await load(A);
    stored.delete(A);
    await refreshStream("a");
    expect(cache.find(A)).toBeUndefined();
  });

  it("does not have the keys of a changed stream until they are read again", async () => {
    await load(A);
    isSlow = true;
    const refreshed = refreshStream("a");
    expect(cache.find(A)).toBeUndefined();
    const failed = expect(refreshed).rejects.toThrow("away");
    await reads.at(-1)?.fail(new Error("away"));
    await failed;
    expect(cache.find(A)).toBeUndefined();
  });

  it("drops a look-up that began before the last notification of its stream", async () => {
    isSlow = true;
    const loaded = load(A);
    stored.set(A, { id: "a", title: "second" });
    await refreshStream("a");
    await reads[0]?.answer();
    expect(await loaded).toMatchObject({ stream: { title: "first" } });
    expect(cache.find(A)).toBeUndefined();
  });

  it("reads a key once more if its stream changed during the read, and not more often if others change", async () => {
    await Promise.all([load(A), load(B)]);
    isSlow = true;
    reads = [];
    const all = cache.refreshAll();
    stored.set(A, { id: "a", title: "second" });
    const again = refreshStream("a");
    for (let i = 0; i < 100; i++) await refreshStream(`other-${i}`);
    for (let i = 0; i < 3; i++) await reads[i]?.answer();
    await Promise.all([all, again]);
    expect([titleOf(A), titleOf(B)]).toEqual(["second", "first"]);
    expect(reads.map(({ hashes }) => hashes.length)).toEqual([2, 1, 1]);
  });

  it("keeps its keys while the database is away and notifications may have been lost", async () => {
    await load(A);
    isSlow = true;
    const failed = expect(cache.refreshAll()).rejects.toThrow("away");
    await reads.at(-1)?.fail(new Error("away"));
    await failed;
    expect(titleOf(A)).toBe("first");
  });
});
