import { randomUUID } from "node:crypto";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startRedis, startRedisCluster, type TestRedis } from "../../test/helpers/redis.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { createMetrics } from "../metrics/metrics.ts";
import { RedisLink } from "../redis/redis-link.ts";
import type { CacheKey, ProgressCache } from "./progress-cache.ts";
import { createRedisProgressCache } from "./redis-progress-cache.ts";

const logger = pino({ level: "silent" });
const KEY: CacheKey = { kind: "file", userId: "alice", id: "f1" };
const COURSE: CacheKey = { kind: "course", userId: "alice", id: "c1" };
const change = (version: number) => ({ userId: "alice", fileId: "f1", courseId: "c1", version });

let link: RedisLink;
let isCurrent: boolean;
let metrics: ReturnType<typeof createMetrics>;

async function open(urls: string[]): Promise<ProgressCache> {
  // A prefix of its own: nothing of another test is there.
  const prefix = randomUUID();
  link = new RedisLink({ urls, prefix, node: randomUUID() }, { logger });
  await link.start();
  isCurrent = true;
  metrics = createMetrics();
  return createRedisProgressCache({
    connection: () => link.commands,
    prefix,
    metrics,
    logger,
  });
}

/** Reads the value alone. */
const get = async (from: ProgressCache, key: CacheKey, minVersion: number) =>
  (await from.get(key, { minVersion, isCurrent })).kept;
/** Fills, as after a read that found nothing. */
async function put(into: ProgressCache, key: CacheKey, version: number, value: object): Promise<void> {
  await (await into.get(key, { minVersion: Number.MAX_SAFE_INTEGER, isCurrent })).fill(version, value);
}

async function outcomes(): Promise<Record<string, number>> {
  const { values } = await metrics.cacheReads.get();
  return Object.fromEntries(values.map(({ labels, value }) => [labels.outcome, value]));
}

afterEach(() => link?.stop());

describe("the cache in one Redis", () => {
  let redis: TestRedis;
  let cache: ProgressCache;
  beforeAll(async () => {
    redis = await startRedis();
  });
  afterAll(() => redis.stop());
  beforeEach(async () => {
    cache = await open([redis.url]);
  });

  it("returns an entry as it was put, for an hour", async () => {
    expect(await get(cache, KEY, 0)).toBeNull();
    await put(cache, KEY, 3, { position: 7, title: "a|b|c" });
    expect(await get(cache, KEY, 3)).toEqual({ position: 7, title: "a|b|c" });
    const [name] = (await redis.ask((client) => client.keys("*:cache:file:*"))).slice(-1);
    const ttl = await redis.ask((client) => client.ttl(name as string));
    expect(ttl).toBeGreaterThan(3500);
    expect(ttl).toBeLessThanOrEqual(3600);
    expect(await outcomes()).toEqual({ miss: 2, hit: 1 });
  });

  it("never replaces an entry by an earlier version", async () => {
    await put(cache, KEY, 5, { position: 5 });
    await put(cache, KEY, 4, { position: 4 });
    expect(await get(cache, KEY, 0)).toEqual({ position: 5 });
    await put(cache, KEY, 6, { position: 6 });
    expect(await get(cache, KEY, 0)).toEqual({ position: 6 });
  });

  it("ends at the latest version, whatever the order of a hundred writers", async () => {
    const versions = Array.from({ length: 100 }, (_, i) => ((i * 37) % 100) + 1);
    await Promise.all(versions.map((version) => put(cache, KEY, version, { version })));
    expect(await get(cache, KEY, 0)).toEqual({ version: 100 });
  });

  it("does not return an entry to a reader who was acked a later version", async () => {
    await put(cache, KEY, 3, { position: 7 });
    expect(await get(cache, KEY, 4)).toBeNull();
    expect(await outcomes()).toEqual({ miss: 1, bypassed: 1 });
  });

  it("never returns an outdated entry, even if a reader that read before puts it back", async () => {
    await put(cache, KEY, 3, { position: 3 });
    await put(cache, COURSE, 3, { percentage: 3 });
    await cache.outdate([change(4)]);
    expect(await get(cache, KEY, 0)).toBeNull();
    expect(await get(cache, COURSE, 0)).toBeNull();
    await put(cache, KEY, 3, { position: 3 });
    expect(await get(cache, KEY, 0)).toBeNull();
    await put(cache, KEY, 4, { position: 4 });
    expect(await get(cache, KEY, 0)).toEqual({ position: 4 });
  });

  it("keeps an entry that is newer than the change it is told of", async () => {
    await put(cache, KEY, 9, { position: 9 });
    await cache.outdate([change(8), change(9)]);
    expect(await get(cache, KEY, 0)).toEqual({ position: 9 });
  });

  it("takes thousands of changes at once", async () => {
    await put(cache, KEY, 1, { position: 1 });
    const others = Array.from({ length: 3000 }, (_, i) => ({ ...change(i + 10), userId: `user-${i}` }));
    await cache.outdate([...others, change(2)]);
    expect(await get(cache, KEY, 0)).toBeNull();
  });

  it("never returns an entry of an older generation, whatever its version", async () => {
    await put(cache, KEY, 99, { position: 99 });
    await cache.outdateAll();
    expect(await get(cache, KEY, 0)).toBeNull();
    // After a restore of the database versions may begin lower.
    await put(cache, KEY, 2, { position: 2 });
    expect(await get(cache, KEY, 0)).toEqual({ position: 2 });
  });

  it("does not cache a value that was read before all entries were outdated", async () => {
    const before = await cache.get(KEY, { minVersion: 0, isCurrent });
    await cache.outdateAll();
    await before.fill(99, { position: 99 });
    expect(await get(cache, KEY, 0)).toBeNull();
    await put(cache, KEY, 2, { position: 2 });
    await before.fill(99, { position: 99 });
    expect(await get(cache, KEY, 0)).toEqual({ position: 2 });
  });

  it("reads and caches nothing while changes may be missed", async () => {
    await put(cache, KEY, 1, { position: 1 });
    isCurrent = false;
    expect(await get(cache, KEY, 0)).toBeNull();
    await put(cache, KEY, 2, { position: 2 });
    isCurrent = true;
    expect(await get(cache, KEY, 0)).toEqual({ position: 1 });
  });

  it("keeps entries apart whose user and file ids run together", async () => {
    await put(cache, { kind: "file", userId: "a:b", id: "c" }, 1, { is: "first" });
    await put(cache, { kind: "file", userId: "a", id: "b:c" }, 1, { is: "second" });
    expect(await get(cache, { kind: "file", userId: "a:b", id: "c" }, 0)).toEqual({ is: "first" });
  });

  it("forgets a user, whatever its id, and takes nothing back that was read before", async () => {
    const names = () => redis.ask((client) => client.keys("*"));
    const before = await names();
    const own: CacheKey = { kind: "file", userId: "a*[b]?\\^-c", id: "f1" };
    const alike: CacheKey[] = [
      { ...own, userId: "axb?\\^-c" },
      { ...own, userId: `x:${own.userId}` },
      { ...own, userId: `${own.userId}d` },
    ];
    const slow = await cache.get(own, { minVersion: 0, isCurrent });
    for (const key of [own, { ...own, kind: "course" as const }, ...alike]) await put(cache, key, 1, { is: "kept" });
    await cache.forgetUser(own.userId);
    await slow.fill(2, { is: "read before" });
    expect(await get(cache, own, 0)).toBeNull();
    for (const key of alike) expect(await get(cache, key, 0)).toEqual({ is: "kept" });
    await waitFor(async () => (await names()).length === before.length + alike.length, {
      what: "the names to go",
      timeoutMs: 40_000,
    });
  });

  it("misses while Redis cannot be reached, and throws nothing", async () => {
    await put(cache, KEY, 1, { position: 1 });
    await redis.kill();
    expect(await get(cache, KEY, 0)).toBeNull();
    await put(cache, KEY, 2, { position: 2 });
    await cache.outdate([change(3)]);
    await cache.outdateAll();
    await cache.forgetUser("alice");
    await redis.start();
    await waitFor(() => link.isNear, { what: "Redis to be back" });
    expect(await get(cache, KEY, 0)).toBeNull();
  });
});

describe("the cache in a Redis cluster", () => {
  let cluster: Awaited<ReturnType<typeof startRedisCluster>>;
  beforeAll(async () => {
    cluster = await startRedisCluster();
  });
  afterAll(() => cluster.stop());

  it("caches, outdates and returns entries on every node", async () => {
    const cache = await open(cluster.nodes.map(({ url }) => url));
    const users = Array.from({ length: 30 }, (_, i) => `user-${i}`);
    for (const userId of users) await put(cache, { ...KEY, userId }, 1, { userId });
    for (const userId of users) expect(await get(cache, { ...KEY, userId }, 1)).toEqual({ userId });
    await cache.outdate(users.map((userId) => ({ ...change(2), userId })));
    for (const userId of users) expect(await get(cache, { ...KEY, userId }, 0)).toBeNull();
  });

  it("forgets a user on every node", async () => {
    const cache = await open(cluster.nodes.map(({ url }) => url));
    const keys = Array.from({ length: 30 }, (_, i): CacheKey => ({ ...KEY, id: `file-${i}` }));
    for (const key of keys) await put(cache, key, 1, { is: "kept" });
    await cache.forgetUser(KEY.userId);
    for (const key of keys) expect(await get(cache, key, 0)).toBeNull();
  });
});
