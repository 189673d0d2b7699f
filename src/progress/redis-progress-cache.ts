import type { Cluster, Redis } from "ioredis";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { CacheAnswer, CacheKey, ProgressCache } from "./progress-cache.ts";

/*
 * Caches progress in Redis. An entry is `<generation>|<version>|<value>`. The value is empty if only the version is known:
 * then a reader that has read an older version cannot cache it any more. Entries of an older generation do not count. A
 * script in Redis decides in one step, so a later version is never replaced by an earlier one of the same generation.
 *
 * If Redis cannot be reached, or is slow, every read is a miss.
 */

const TTL_SECONDS = 3600;
const GENERATION = "generation";
/** By then every read has ended that began before a user was deleted. */
const FORGET_SECONDS = 10;
/** How many names Redis looks at in one call. */
const SCAN_COUNT = 1000;

/** Entries in one call of the script. Redis serves nobody else while a script runs. */
const CHUNK = 500;

/** KEYS: the entries. ARGV: the generation, the seconds to live, then version and value of each entry. */
const PUT = `
for i, key in ipairs(KEYS) do
  local version, value = ARGV[1 + 2 * i], ARGV[2 + 2 * i]
  local kept = redis.call('GET', key)
  local isKept = false
  if kept then
    local generation, keptVersion = string.match(kept, '^(%d+)|(%d+)|')
    if tonumber(generation) > tonumber(ARGV[1]) then
      isKept = true
    elseif generation == ARGV[1] then
      isKept = tonumber(keptVersion) > tonumber(version) or (tonumber(keptVersion) == tonumber(version) and value == '')
    end
  end
  if not isKept then redis.call('SET', key, ARGV[1] .. '|' .. version .. '|' .. value, 'EX', ARGV[2]) end
end`;

const KINDS: readonly CacheKey["kind"][] = ["file", "course"];

type Entry = readonly [name: string, version: number, value: string];

export interface RedisProgressCacheParts {
  /** Null while Redis cannot be reached. */
  connection: () => Redis | Cluster | null;
  prefix: string;
  metrics: Metrics;
  logger: Logger;
}

export function createRedisProgressCache(parts: RedisProgressCacheParts): ProgressCache {
  const { connection, metrics, logger } = parts;
  const generationKey = `${parts.prefix}:cache:${GENERATION}`;

  function nameOf({ kind, userId, id }: CacheKey): string {
    // No id contains U+0000.
    return `${parts.prefix}:cache:${kind}:${userId}\u0000${id}`;
  }

  async function write(
    redis: Redis | Cluster,
    generation: string,
    entries: readonly Entry[],
    ttlSeconds = TTL_SECONDS,
  ): Promise<void> {
    // In a cluster all keys of one call must be in one slot.
    const size = redis.isCluster ? 1 : CHUNK;
    const calls = [];
    for (let from = 0; from < entries.length; from += size) {
      const chunk = entries.slice(from, from + size);
      const names = chunk.map(([name]) => name);
      const values = chunk.flatMap(([, version, value]) => [version, value]);
      calls.push(redis.eval(PUT, names.length, ...names, generation, ttlSeconds, ...values));
    }
    await Promise.all(calls);
  }

  async function attempt<T>(what: string, work: (redis: Redis | Cluster) => Promise<T>): Promise<T | null> {
    const redis = connection();
    if (redis === null) return null;
    try {
      return await work(redis);
    } catch (error) {
      logger.debug({ err: error }, `the cache could not ${what}`);
      return null;
    }
  }

  return {
    async get<T extends object>(
      key: CacheKey,
      { minVersion, isCurrent }: { minVersion: number; isCurrent: boolean },
    ): Promise<CacheAnswer<T>> {
      const found = isCurrent
        ? await attempt("be read", (redis) => Promise.all([redis.get(generationKey), redis.get(nameOf(key))]))
        : null;
      if (found === null) {
        metrics.cacheReads.inc({ outcome: "away" });
        return { kept: null, fill: async () => undefined };
      }
      const generation = found[0] ?? "0";
      const outcome = judge(generation, found[1], minVersion);
      metrics.cacheReads.inc({ outcome });
      return {
        kept: outcome === "hit" ? (JSON.parse(textOf(found[1] as string)) as T) : null,
        async fill(version, value) {
          const entry = [nameOf(key), version, JSON.stringify(value)] as const;
          await attempt("be filled", (redis) => write(redis, generation, [entry]));
        },
      };
    },

    async outdate(changes) {
      const versions = new Map<string, number>();
      for (const { userId, fileId, courseId, version } of changes) {
        for (const key of [
          { kind: "file", userId, id: fileId } as const,
          { kind: "course", userId, id: courseId } as const,
        ]) {
          versions.set(nameOf(key), Math.max(version, versions.get(nameOf(key)) ?? 0));
        }
      }
      const entries = [...versions].map(([name, version]) => [name, version, ""] as const);
      if (entries.length > 0)
        await attempt("be told of changes", async (redis) =>
          write(redis, (await redis.get(generationKey)) ?? "0", entries),
        );
    },

    async forgetUser(userId) {
      await attempt("forget a user", async (redis) => {
        const generation = (await redis.get(generationKey)) ?? "0";
        const starts = KINDS.map((kind) => nameOf({ kind, userId, id: "" }));
        const nodes = redis.isCluster ? (redis as Cluster).nodes("master") : [redis as Redis];
        for (const node of nodes) {
          for await (const names of scan(node, `${toPattern(parts.prefix)}:cache:*:${toPattern(userId)}\u0000*`)) {
            const own = names.filter((name) => starts.some((start) => name.startsWith(start)));
            // The highest version: nothing takes its place until it is gone.
            const last = own.map((name) => [name, Number.MAX_SAFE_INTEGER, ""] as const);
            await write(redis, generation, last, FORGET_SECONDS);
          }
        }
      });
    },

    async outdateAll() {
      await attempt("be outdated", (redis) => redis.incr(generationKey));
    },
  };
}

async function* scan(redis: Redis, pattern: string): AsyncGenerator<string[]> {
  let cursor = "0";
  do {
    const [next, names] = await redis.scan(cursor, "MATCH", pattern, "COUNT", SCAN_COUNT);
    cursor = next;
    yield names;
  } while (cursor !== "0");
}

/** A text as Redis's patterns take it. */
function toPattern(text: string): string {
  return text.replace(/[*?[\]\\^-]/g, "\\$&");
}

type Outcome = "hit" | "miss" | "bypassed";

function judge(generation: string, entry: string | null, minVersion: number): Outcome {
  if (entry === null) return "miss";
  const [itsGeneration, version] = entry.split("|", 2);
  if (itsGeneration !== generation || Number(version) < minVersion || textOf(entry) === "") return "bypassed";
  return "hit";
}

function textOf(entry: string): string {
  return entry.slice(entry.indexOf("|", entry.indexOf("|") + 1) + 1);
}
