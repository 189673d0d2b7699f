import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Pool } from "../db/pool.ts";
import { KeyCache } from "./key-cache.ts";
import { hashStreamKey } from "./stream-key.ts";

/*
 * What is known of keys, against what the database says and when. Reads wait until they are let go, as slow ones do.
 */

let cache: KeyCache;
/** Stream → title, by key. */
let stored: Map<string, { id: string; title: string }>;
let reads: { hashes: string[]; answer: () => Promise<void>; fail: (error: Error) => Promise<void> }[];
let isSlow: boolean;

const A = hashStreamKey("key-a");
const B = hashStreamKey("key-b");

beforeEach(() => {
  vi.useFakeTimers();
  stored = new Map([
    [A.toString("base64"), { id: "a", title: "first" }],
    [B.toString("base64"), { id: "b", title: "first" }],
  ]);
  reads = [];
  isSlow = false;
  const query = async (_sql: string, [hashes]: [Buffer[]]) => {
    const rows = hashes.flatMap((hash) => {
      const row = stored.get(hash.toString("base64"));
      return row === undefined ? [] : [{ keyHash: hash, ...row, policy: "first_wins", goodUntil: null }];
    });
    const read = { hashes: hashes.map((hash) => hash.toString("base64")) };
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
    return { rows };
  };
  cache = new KeyCache({ pool: { query } as unknown as Pool });
});
afterEach(() => {
  vi.useRealTimers();
});

const titleOf = (hash: Buffer) => cache.peek(hash)?.stream.title;

describe("what is known of keys", () => {
  it("is nothing before somebody asked, and then what the database said", async () => {
    expect(cache.peek(A)).toBeUndefined();
    expect(await cache.load(A)).toMatchObject({ stream: { id: "a" } });
    expect(titleOf(A)).toBe("first");
  });

  it("is that a wrong key is nobody's, for ten seconds", async () => {
    const wrong = hashStreamKey("wrong");
    expect(await cache.load(wrong)).toBeNull();
    expect(cache.peek(wrong)).toBeNull();
    vi.advanceTimersByTime(10_001);
    expect(cache.peek(wrong)).toBeUndefined();
  });

  it("is no less of right keys, however many wrong ones come", async () => {
    await cache.load(A);
    for (let i = 0; i < 20_000; i++) await cache.load(hashStreamKey(`wrong-${i}`));
    expect(titleOf(A)).toBe("first");
  });

  it("is read anew when its stream changed, and no other's", async () => {
    await Promise.all([cache.load(A), cache.load(B)]);
    reads = [];
    stored.set(A.toString("base64"), { id: "a", title: "second" });
    await cache.refreshStream("a");
    expect([titleOf(A), titleOf(B)]).toEqual(["second", "first"]);
    expect(reads.map(({ hashes }) => hashes)).toEqual([[A.toString("base64")]]);
  });

  it("is nothing any more of a key that was rotated, or whose stream was deleted", async () => {
    await cache.load(A);
    stored.delete(A.toString("base64"));
    await cache.refreshStream("a");
    expect(cache.peek(A)).toBeUndefined();
  });

  it("is nothing from the notification on until it was read: refused rather than believed", async () => {
    await cache.load(A);
    isSlow = true;
    const refreshed = cache.refreshStream("a");
    expect(cache.peek(A)).toBeUndefined();
    const failed = expect(refreshed).rejects.toThrow("away");
    await reads.at(-1)?.fail(new Error("away"));
    await failed;
    expect(cache.peek(A)).toBeUndefined();
  });

  it("is never older than the last notification of its stream", async () => {
    isSlow = true;
    const loaded = cache.load(A);
    stored.set(A.toString("base64"), { id: "a", title: "second" });
    await cache.refreshStream("a");
    await reads[0]?.answer();
    expect(await loaded).toMatchObject({ stream: { title: "first" } });
    expect(cache.peek(A)).toBeUndefined();
  });

  it("is read once more where a stream changed while it was read, and once however much others change", async () => {
    await Promise.all([cache.load(A), cache.load(B)]);
    isSlow = true;
    reads = [];
    const all = cache.refreshAll();
    stored.set(A.toString("base64"), { id: "a", title: "second" });
    const again = cache.refreshStream("a");
    for (let i = 0; i < 100; i++) await cache.refreshStream(`other-${i}`);
    for (let i = 0; i < 3; i++) await reads[i]?.answer();
    await Promise.all([all, again]);
    expect([titleOf(A), titleOf(B)]).toEqual(["second", "first"]);
    expect(reads.map(({ hashes }) => hashes.length)).toEqual([2, 1, 1]);
  });

  it("stays while the database is away and notifications may have been lost", async () => {
    await cache.load(A);
    isSlow = true;
    const failed = expect(cache.refreshAll()).rejects.toThrow("away");
    await reads.at(-1)?.fail(new Error("away"));
    await failed;
    expect(titleOf(A)).toBe("first");
  });
});
