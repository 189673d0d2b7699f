import type { WireError } from "../errors.ts";
import type { Ack } from "../protocol/ack.ts";
import type { BriefAck } from "../protocol/brief-ack.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import type { BeatQueue, QueuedBeat } from "./beat-queue.ts";
import { type Clock, toBackoffMs } from "./clock.ts";

/*
 * Brings the queue to the server, one call at a time, oldest beat first. A beat leaves the queue when the server took it,
 * or refused it in a way that a repeat would not change. Every other beat is sent again.
 */

/** How the server acks a beat that it took: with the whole progress, or briefly. */
export type BeatAck = { progress: FileProgress; nextBeatMs: number } | BriefAck;

/** A beat that is refused with one of these codes would be refused for ever. It must not hold back the others. */
const HOPELESS: readonly string[] = ["bad_request", "unknown_file", "not_found", "forbidden", "conflict"];

export interface DeliveryParts {
  queue: BeatQueue;
  clock: Clock;
  /** Null where no answer came. */
  call<T extends object>(event: "heartbeat" | "heartbeats", payload: object): Promise<Ack<T> | null>;
  isOnline(): boolean;
  /** Called when beats of the queue were sent or removed. */
  onChange(): void;
  onAck(ack: BeatAck, beat: Heartbeat): void;
  onDropped(error: WireError, beat: Heartbeat): void;
}

export interface Delivery {
  /** Call it when there is a new beat, or a new connection. */
  wake(): void;
  stop(): void;
}

export function createDelivery(parts: DeliveryParts): Delivery {
  const { queue, clock } = parts;
  let isBusy = false;
  let isStopped = false;
  let failures = 0;
  /** How many beats to send one by one: the server refused a batch as a whole, and one of them spoils it. */
  let singly = 0;
  let cancelRetry: (() => void) | null = null;

  async function pump(): Promise<void> {
    if (isBusy) return;
    isBusy = true;
    while (!isStopped && !cancelRetry && queue.size > 0 && parts.isOnline()) {
      const waitMs = await sendBatch();
      if (waitMs === 0) failures = 0;
      // Without a connection there is no need to wait: the next connection calls `wake`.
      else if (!isStopped && parts.isOnline()) retryIn(waitMs);
    }
    isBusy = false;
  }

  function retryIn(ms: number): void {
    cancelRetry = clock.after(ms, () => {
      cancelRetry = null;
      void pump();
    });
  }

  /** @returns how long to wait before the next batch; 0 where the server answered every beat */
  async function sendBatch(): Promise<number> {
    const batch = queue.takeBatch(singly > 0 ? 1 : undefined);
    parts.onChange();
    const answers = await callFor(batch.map(({ wire }) => wire));
    if (answers === null) return toWaitMs();
    if (!Array.isArray(answers)) {
      if (!HOPELESS.includes(answers.code)) return toWaitMs(answers);
      singly = batch.length;
      return 0;
    }
    singly = Math.max(0, singly - 1);
    const waits = batch.map(({ beat, wire }, index) => settle(beat, wire, answers[index]));
    parts.onChange();
    return Math.max(...waits);
  }

  /** @returns one answer a beat; the error of a batch that was refused as a whole; null where no answer came */
  async function callFor(beats: Heartbeat[]): Promise<Ack<BeatAck>[] | WireError | null> {
    const [first] = beats;
    if (first && beats.length === 1) {
      const answer = await parts.call<BeatAck>("heartbeat", first);
      return answer && [answer];
    }
    const answer = await parts.call<{ results: Ack<BeatAck>[] }>("heartbeats", { beats });
    if (answer === null) return null;
    return answer.ok ? answer.results : answer.error;
  }

  function settle(beat: QueuedBeat, wire: Heartbeat, answer: Ack<BeatAck> | undefined): number {
    if (answer === undefined) return toWaitMs();
    if (!answer.ok && !HOPELESS.includes(answer.error.code)) return toWaitMs(answer.error);
    queue.settle(beat);
    if (answer.ok) parts.onAck(answer, wire);
    else parts.onDropped(answer.error, wire);
    return 0;
  }

  /** How long to wait after a failure: as long as the server asks, or longer with every failure in a row. */
  function toWaitMs(error?: WireError): number {
    return error?.retryAfterMs || toBackoffMs(failures++);
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
