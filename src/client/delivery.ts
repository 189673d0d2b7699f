import type { WireError } from "../errors.ts";
import type { Ack } from "../protocol/ack.ts";
import type { BriefAck } from "../protocol/brief-ack.ts";
import type { Heartbeat } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import type { BeatQueue, QueuedBeat } from "./beat-queue.ts";
import { type Clock, toBackoffMs } from "./clock.ts";

/*
 * Brings the queue to the server, one call at a time, oldest beat first. A beat leaves the queue when the server took it,
 * or refused it in a way that a repeat would not change. Every other beat is sent again. After a failure one beat goes
 * alone, as a question whether the server is back: a beat that was sent can be joined with no other any more, and
 * thousands of players must not bring all they have to a server that cannot take it.
 */

/** What the server may cut off a beat that it takes: see docs/protocol.md. */
export type CutReason = "budget" | "fragments" | "duration";

/** How the server acks a beat that it took: with the whole progress, or briefly. */
export type BeatAck = ({ progress: FileProgress; nextBeatMs: number } | BriefAck) & { cut?: CutReason[] };

/** A beat that is refused with one of these codes would be refused for ever. It must not hold back the others. */
const HOPELESS: readonly string[] = ["bad_request", "unknown_file", "not_found", "forbidden", "conflict"];
/** How long beats of a file are kept that the server's catalogue does not have yet. */
const KEEP_UNKNOWN_MS = 10 * 60_000;
/** A pause that the server asked for grows with every failure, up to this. */
const MAX_ASKED_MS = 5000;

/** Whether a repeat may succeed. The server says `retryAfterMs` with `unknown_file` where its catalogue may be behind. */
export function isWorthRetrying({ code, retryAfterMs }: WireError): boolean {
  return !HOPELESS.includes(code) || (code === "unknown_file" && retryAfterMs !== undefined);
}

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
  /** Since when the server does not know a file, and whether its beats wait at the moment. */
  const unknownFiles = new Map<string, { sinceMs: number; isWaiting: boolean }>();

  async function pump(): Promise<void> {
    if (isBusy) return;
    isBusy = true;
    while (!isStopped && !cancelRetry && parts.isOnline()) {
      const batch = takeBatch();
      if (batch.length === 0) break;
      const waitMs = await send(batch);
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

  /** Of a file that the server does not know one beat goes at a time. */
  function takeBatch(): { beat: QueuedBeat; wire: Heartbeat }[] {
    const asked = new Set<string>();
    return queue.takeBatch(singly > 0 || failures > 0 ? 1 : undefined, ({ fileId }) => {
      const unknown = unknownFiles.get(fileId);
      if (!unknown) return true;
      const mayGo = !unknown.isWaiting && !asked.has(fileId);
      asked.add(fileId);
      return mayGo;
    });
  }

  /** @returns how long to wait before the next batch; 0 where the server answered every beat */
  async function send(batch: { beat: QueuedBeat; wire: Heartbeat }[]): Promise<number> {
    parts.onChange();
    const answers = await callFor(batch.map(({ wire }) => wire));
    if (answers === null) return toWaitMs();
    if (!Array.isArray(answers)) {
      if (isWorthRetrying(answers)) return toWaitMs(answers);
      singly = batch.length;
      return 0;
    }
    singly = Math.max(0, singly - 1);
    const refusals = batch.map(({ beat, wire }, index) => settle(beat, wire, answers[index]));
    parts.onChange();
    const refusal = refusals.find((error) => error !== null);
    return refusal ? toWaitMs(refusal) : 0;
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

  /** @returns why the beat has to be sent again soon; null where it need not */
  function settle(beat: QueuedBeat, wire: Heartbeat, answer: Ack<BeatAck> | undefined): WireError | null {
    if (answer === undefined) return { code: "internal", message: "The server left out an answer." };
    if (!answer.ok && answer.error.code === "unknown_file" && isKept(beat.fileId, answer.error)) return null;
    if (!answer.ok && answer.error.code !== "unknown_file" && isWorthRetrying(answer.error)) return answer.error;
    queue.settle(beat);
    if (answer.ok) {
      unknownFiles.delete(beat.fileId);
      parts.onAck(answer, wire);
    } else parts.onDropped(answer.error, wire);
    return null;
  }

  /** Lets the beats of a file wait for the catalogue, while there is hope. Beats of other files go on. */
  function isKept(fileId: string, error: WireError): boolean {
    const { sinceMs } = unknownFiles.get(fileId) ?? { sinceMs: clock.monotonicMs() };
    if (!isWorthRetrying(error) || clock.monotonicMs() - sinceMs > KEEP_UNKNOWN_MS) return false;
    const unknown = { sinceMs, isWaiting: true };
    unknownFiles.set(fileId, unknown);
    clock.after(withJitter(error.retryAfterMs ?? 0), () => {
      unknown.isWaiting = false;
      void pump();
    });
    return true;
  }

  /** How long to wait after a failure: at least as long as the server asks, and longer with every failure in a row. */
  function toWaitMs({ retryAfterMs }: Partial<WireError> = {}): number {
    const before = failures++;
    if (!retryAfterMs) return toBackoffMs(before);
    return withJitter(Math.max(retryAfterMs, Math.min(MAX_ASKED_MS, retryAfterMs * 2 ** before)));
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

/** Players that were refused together must not come back together. */
function withJitter(ms: number): number {
  return ms * (1 + Math.random() / 2);
}
