import type { Config } from "../config.ts";
import type { Logger } from "../logger.ts";
import { RedisLink } from "./redis-link.ts";

export interface RedisParts {
  config: Pick<Config, "REDIS_URL" | "REDIS_PREFIX">;
  /** The name of this process, which no other has. */
  node: string;
  logger: Logger;
}

/** Connects to the configured Redis; null if none is configured. A Redis that is away is tried again from time to time. */
export async function openRedis({ config, node, logger }: RedisParts): Promise<RedisLink | null> {
  if (config.REDIS_URL.length === 0) return null;
  const link = new RedisLink({ urls: config.REDIS_URL, prefix: config.REDIS_PREFIX, node }, { logger });
  await link.start();
  return link;
}
