import type { Config } from "../config.ts";
import { Election } from "../db/election.ts";
import type { Database } from "../db/open-database.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { createMirror, type Mirror } from "./create-mirror.ts";
import { collectMirrorMetrics } from "./mirror-lag.ts";
import { warnIfUnattended } from "./mirror-state.ts";

export interface OpenMirrorParts {
  config: Pick<Config, "FIREBASE_PROJECT_ID" | "FIRESTORE_MIRROR" | "FIRESTORE_MIRROR_INTERVAL_MS">;
  database: Pick<Database, "pool" | "directUrl" | "watch">;
  metrics: Metrics;
  logger: Logger;
}

/** The configured mirror of progress in Firestore; null if none is configured. */
export async function openMirror({ config, database, metrics, logger }: OpenMirrorParts): Promise<Mirror | null> {
  const { pool, directUrl, watch } = database;
  const { FIREBASE_PROJECT_ID: projectId, FIRESTORE_MIRROR, FIRESTORE_MIRROR_INTERVAL_MS: intervalMs } = config;
  if (!FIRESTORE_MIRROR || projectId === undefined) {
    await warnIfUnattended(pool, logger);
    return null;
  }
  collectMirrorMetrics(metrics, pool);
  const elect = (told: { onElected: () => void; onDismissed: () => void }) =>
    new Election({
      ...told,
      duty: "mirror",
      connectionString: directUrl,
      admit: (client) => watch.admit(client, { writes: false }),
      isAble: () => true,
      logger,
    });
  return createMirror({ projectId, pool, elect, metrics, logger }, { intervalMs });
}
