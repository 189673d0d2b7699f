import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { withinTime } from "../within-time.ts";
import { openFirestore } from "./firestore.ts";
import { FirestoreMirror } from "./firestore-mirror.ts";
import { MirrorFollower } from "./mirror-follower.ts";
import { createMirrorReader, type MirrorReader } from "./mirror-reader.ts";

/** The mirror in the server: a candidate for the duty of following, and a reader of progress that the database lost. */
export interface Mirror extends MirrorReader {
  start(): void;
  /** Gives up the duty when nothing is under way any more, or after STOP_MS. */
  stop(): Promise<void>;
}

export interface MirrorParts {
  projectId: string;
  pool: Pool;
  /** Makes the candidate for the duty of the mirror. */
  elect: (duty: { onElected: () => void; onDismissed: () => void }) => { start(): void; stop(): Promise<void> };
  metrics: Metrics;
  logger: Logger;
}

const STOP_MS = 3000;

/**
 * Makes the mirror; it does nothing before `start`.
 * @param intervalMs the shortest time between two rounds of the follower
 */
export async function createMirror(
  { projectId, pool, elect, metrics, logger }: MirrorParts,
  { intervalMs, takeoverMs }: { intervalMs: number; takeoverMs?: number },
): Promise<Mirror> {
  const mirror = new FirestoreMirror(await openFirestore({ projectId }));
  const follower = new MirrorFollower(
    { pool, mirror, metrics, logger },
    { intervalMs, ...(takeoverMs === undefined ? {} : { takeoverMs }) },
  );
  const election = elect({
    onElected: () => follower.start(),
    onDismissed: () => void follower.stop(), // never rejects
  });
  return {
    ...createMirrorReader(mirror),
    start: () => election.start(),
    async stop() {
      // A call under way to a Firestore that is away would take up to its own deadline.
      const ended = follower.stop().then(() => mirror.close());
      await withinTime(ended, STOP_MS, () => new Error(`Firestore was not closed within ${STOP_MS} ms`)).catch(
        (error: unknown) => logger.warn({ err: error }, "Firestore could not be closed"),
      );
      await election.stop();
    },
  };
}
