import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { BATCH_SIZE, type FirestoreMirror, type MirrorChange } from "./firestore-mirror.ts";

/*
 * Writes changes to the mirror, batch by batch. Where Firestore refuses the content of a batch, the batch is split
 * until the bad row is alone. That row is given up with an error in the log, so that it does not keep back all others.
 */

/** Codes by which gRPC refuses content. Any other failure may go away: an outage, a quota, missing rights. */
const INVALID_ARGUMENT = 3;
const OUT_OF_RANGE = 11;

export interface WriteParts {
  mirror: FirestoreMirror;
  metrics: Metrics;
  logger: Logger;
  signal: AbortSignal;
}

/** @throws Firestore's error where it is not about one row; batches before it stay written */
export async function writeChanges(parts: WriteParts, changes: readonly MirrorChange[]): Promise<void> {
  for (let i = 0; i < changes.length; i += BATCH_SIZE) {
    parts.signal.throwIfAborted();
    await writeOrSplit(parts, changes.slice(i, i + BATCH_SIZE));
  }
}

async function writeOrSplit(parts: WriteParts, changes: readonly MirrorChange[]): Promise<void> {
  const { mirror, metrics, logger } = parts;
  try {
    await mirror.commit(changes);
  } catch (error) {
    metrics.mirrorFailures.inc({ code: codeOf(error) });
    if (!isRefusal(error)) throw error;
    if (changes.length > 1) {
      const half = Math.ceil(changes.length / 2);
      await writeOrSplit(parts, changes.slice(0, half));
      await writeOrSplit(parts, changes.slice(half));
      return;
    }
    const [{ userId, fileId }] = changes as [MirrorChange];
    // A wrong project or database gets the same code. Then this read fails too, and its error says that no row is to
    // blame.
    await mirror.readFile({ userId, fileId });
    logger.error({ err: error, userId, fileId }, "Firestore refused a row; it is not mirrored until it changes");
    return;
  }
  const deleted = changes.filter((change) => change.row === null).length;
  metrics.mirrorWrites.inc({ kind: "delete" }, deleted);
  metrics.mirrorWrites.inc({ kind: "set" }, changes.length - deleted);
}

function isRefusal(error: unknown): boolean {
  const code: unknown = (error as { code?: unknown } | null)?.code;
  return code === INVALID_ARGUMENT || code === OUT_OF_RANGE;
}

/** The code of an error for the metric: the number of gRPC, or the code of PostgreSQL or Node. */
export function codeOf(error: unknown): string {
  return String((error as { code?: unknown } | null)?.code ?? "none");
}
