import type { Pool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { openFirestore } from "./firestore.ts";
import { FirestoreMirror } from "./firestore-mirror.ts";
import { MirrorFollower } from "./mirror-follower.ts";
import { createMirrorReader, type MirrorReader } from "./mirror-reader.ts";

/** The mirror's part of the server: a candidate for following, and the way to read what the database lost. */
export interface Mirror extends MirrorReader {
  start(): void;
  /** Gives up the lock when nothing is under way any more, or after a while. */
  stop(): Promise<void>;
}

export interface MirrorParts {
  projectId: string;
  pool: Pool;
  /** Stands for election, with a lock of the mirror's own. */
  elect: (duty: { onElected: () => void; onDismissed: () => void }) => { start(): void; stop(): Promise<void> };
  metrics: Metrics;
  logger: Logger;
}

const STOP_MS = 3000;

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
    onElected: () => follower.takeUp(),
    onDismissed: () => void follower.layDown(), // never rejects
  });
  return {
    ...createMirrorReader(mirror),
    start: () => election.start(),
    async stop() {
      // What is on its way to a Firestore that is away takes as long as a call may.
      const late = new Promise((resolve) => setTimeout(resolve, STOP_MS).unref());
      const ended = follower.layDown().then(() => mirror.close());
      const logged = ended.catch((error: unknown) => logger.warn({ err: error }, "Firestore could not be closed"));
      await Promise.race([logged, late]);
      await election.stop();
    },
  };
}
