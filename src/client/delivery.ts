import type { WireError } from "../errors.ts";
import type { Ack } from "../protocol/ack.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import type { BeatQueue, QueuedBeat } from "./beat-queue.ts";
import type { Clock } from "./clock.ts";

/*
 * Brings the queue to the server, one call at a time, oldest first. A beat leaves the queue when the server has
 * answered for it: taken, or refused in a way that no repeat would change. Anything else is sent again.
 */

type BeatAnswer = Ack<{ progress: FileProgress; nextBeatMs: number }>;

/** Refused like this, a beat would be refused for ever; it must not hold back the others. */
const HOPELESS: readonly string[] = ["bad_request", "unknown_file", "not_found", "forbidden", "conflict"];
const FIRST_RETRY_MS = 1000;
const LAST_RETRY_MS = 30_000;

export interface DeliveryParts {
  queue: BeatQueue;
  clock: Clock;
  /** Null where no answer came. */
  call<T extends object>(event: "heartbeat" | "heartbeats", payload: object): Promise<Ack<T> | null>;
  isOnline(): boolean;
  /** The queue changed: something was sent, or settled. */
  onChange(): void;
  onProgress(progress: FileProgress, nextBeatMs: number): void;
  onDropped(error: WireError, beat: Heartbeat): void;
}

export interface Delivery {
  /** Something to send, or a way to send it. */
  wake(): void;
  stop(): void;
}

export function createDelivery(parts: DeliveryParts): Delivery {
  const { queue, clock } = parts;
  let isBusy = false;
  let isStopped = false;
  let failures = 0;
  /** Set after a batch was refused as a whole: one at a time until the beat that spoils it is found. */
  let singly = 0;
  let cancelRetry: (() => void) | null = null;

  async function pump(): Promise<void> {
    if (isBusy) return;
    isBusy = true;
    while (!isStopped && !cancelRetry && queue.size > 0 && parts.isOnline()) {
      const retryAfterMs = await sendBatch();
      if (retryAfterMs === null) failures = 0;
      // Away from the server there is nothing to wait for but the next connection, which wakes us.
      else if (!isStopped && parts.isOnline()) retryIn(retryAfterMs);
    }
    isBusy = false;
  }

  function retryIn(ms: number): void {
    cancelRetry = clock.after(ms, () => {
      cancelRetry = null;
      void pump();
    });
  }

  /** Null where all is well, else how long to wait. */
  async function sendBatch(): Promise<number | null> {
    const batch = queue.takeBatch(singly > 0 ? 1 : undefined);
    parts.onChange();
    const answers = await callFor(batch.map(({ wire }) => wire));
    if (answers === null) return toBackoffMs();
    if (!Array.isArray(answers)) {
      if (!HOPELESS.includes(answers.code) || batch.length === 1) return toWaitMs(answers);
      singly = batch.length;
      return null;
    }
    singly = Math.max(0, singly - 1);
    const waits = batch.map(({ beat, wire }, index) => settle(beat, wire, answers[index]));
    parts.onChange();
    return waits.some((wait) => wait !== null) ? Math.max(...waits.map((wait) => wait ?? 0)) : null;
  }

  /** The answers, one a beat; the error where the call was refused as a whole; null where no answer came. */
  async function callFor(beats: Heartbeat[]): Promise<BeatAnswer[] | WireError | null> {
    const [first] = beats;
    if (first && beats.length === 1) {
      const answer = await parts.call<{ progress: FileProgress; nextBeatMs: number }>("heartbeat", first);
      return answer && [answer];
    }
    const answer = await parts.call<{ results: BeatAnswer[] }>("heartbeats", { beats });
    if (answer === null) return null;
    return answer.ok ? answer.results : answer.error;
  }

  function settle(beat: QueuedBeat, wire: Heartbeat, answer: BeatAnswer | undefined): number | null {
    if (answer === undefined) return toBackoffMs();
    if (!answer.ok && !HOPELESS.includes(answer.error.code)) return toWaitMs(answer.error);
    queue.settle(beat);
    if (answer.ok) parts.onProgress(answer.progress, answer.nextBeatMs);
    else parts.onDropped(answer.error, wire);
    return null;
  }

  function toWaitMs(error: WireError): number {
    return error.retryAfterMs ?? toBackoffMs();
  }

  function toBackoffMs(): number {
    failures = Math.min(failures + 1, 10);
    return Math.min(LAST_RETRY_MS, FIRST_RETRY_MS * 2 ** (failures - 1)) * (0.5 + Math.random() / 2);
  }

  return {
    wake() {
      void pump();
    },
    stop() {
      isStopped = true;
      cancelRetry?.();
    },
  };
}
