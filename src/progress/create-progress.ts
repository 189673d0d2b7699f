import type { CatalogueCache } from "../catalogue/catalogue-cache.ts";
import type { Config } from "../config.ts";
import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { createCachedReader } from "./cached-reader.ts";
import { type AcceptedBeat, createProgressService } from "./create-progress-service.ts";
import { createFallbackReader, type ReadCopy } from "./fallback-reader.ts";
import { HeartbeatBuffer } from "./heartbeat-buffer.ts";
import { createLastContacts } from "./last-contacts.ts";
import { createLearnerLists } from "./learner-lists.ts";
import type { ProgressCache } from "./progress-cache.ts";
import { createProgressOperations } from "./progress-operations.ts";
import { createProgressReader } from "./progress-reader.ts";
import type { ProgressService } from "./progress-service.ts";
import { ProgressWriter } from "./progress-writer.ts";
import { WatchBudget } from "./watch-budget.ts";

export interface ProgressParts {
  config: Pick<
    Config,
    "WRITERS" | "FLUSH_INTERVAL_MS" | "MAX_BATCH" | "MAX_PENDING" | "ACK_DEADLINE_MS" | "BEAT_INTERVAL_MS"
  >;
  database: { pool: Pool; writerPool: Pool };
  catalogue: CatalogueCache;
  metrics: Metrics;
  logger: Logger;
  onAccepted: (accepted: AcceptedBeat) => void;
  /** Caches progress for readers; null if there is no cache. */
  cache: ProgressCache | null;
  /** Whether changes may be missed now: then nothing is read from the cache. */
  isBehind: () => boolean;
  /** Reads a copy of progress, for users whom the database does not know; null if there is no copy. */
  readCopy: ReadCopy | null;
}

export interface Progress {
  service: ProgressService;
  /** Whether the last try of some writer failed: heartbeats wait, or are refused. */
  readonly isDown: boolean;
  /** Another database answers from now on: nothing that is remembered of rows holds. */
  forgetAll(): void;
  /** These users were deleted. */
  forgetUsers(isForgotten: (userId: string) => boolean): void;
  /** Flushes waiting heartbeats; resolves with the number of refused ones. */
  stop(timeoutMs: number): Promise<number>;
}

/** Builds the parts of progress: buffers and writer, budget, readers, operations. */
export function createProgress({
  config,
  database,
  catalogue,
  metrics,
  logger,
  onAccepted,
  cache,
  isBehind,
  readCopy,
}: ProgressParts): Progress {
  const writer = new ProgressWriter({ pool: database.writerPool, catalogue, metrics, logger });
  const buffers = Array.from(
    { length: config.WRITERS },
    () =>
      new HeartbeatBuffer(
        { write: (entries) => writer.write(entries), metrics, logger },
        {
          flushIntervalMs: config.FLUSH_INTERVAL_MS,
          maxBatch: config.MAX_BATCH,
          maxPending: Math.ceil(config.MAX_PENDING / config.WRITERS),
          ackDeadlineMs: config.ACK_DEADLINE_MS,
        },
      ),
  );
  const { pool } = database;
  const source = createProgressReader({ pool });
  const cached = cache === null ? null : createCachedReader({ reader: source, cache, isBehind });
  const reader = cached ?? source;
  const budget = new WatchBudget({ loadLastContacts: createLastContacts({ pool }) });
  const service = createProgressService(
    {
      buffers,
      budget,
      catalogue,
      // The copy comes last and is never cached: its versions are those of a lost database.
      reader: readCopy === null ? reader : createFallbackReader({ reader, pool, readCopy, logger }),
      lists: createLearnerLists({ pool }),
      operations: createProgressOperations({ pool }),
      metrics,
      logger,
      onAccepted,
      onWritten: cached === null ? () => undefined : cached.wrote,
    },
    { beatIntervalMs: config.BEAT_INTERVAL_MS },
  );
  return {
    service,
    get isDown() {
      return buffers.some((buffer) => buffer.isDown);
    },
    forgetAll: () => writer.forgetAll(),
    forgetUsers(isForgotten) {
      writer.forgetUsers(isForgotten);
      budget.forgetUsers(isForgotten);
    },
    async stop(timeoutMs) {
      const refused = await Promise.all(buffers.map((buffer) => buffer.stop(timeoutMs)));
      return refused.reduce((sum, count) => sum + count, 0);
    },
  };
}
