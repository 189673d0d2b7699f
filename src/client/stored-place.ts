import type { WireError } from "../errors.ts";
import type { Ack } from "../protocol/ack.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { toMs } from "../protocol/ranges.ts";
import type { BeatQueue } from "./beat-queue.ts";
import type { Clock } from "./clock.ts";
import type { Connection, ConnectionState } from "./connection.ts";
import { isWorthRetrying } from "./delivery.ts";
import type { HeldProgress } from "./held-progress.ts";

/*
 * Reads the stored progress of the player's file: where to resume, and which epoch it is. Until it is read, the beats of
 * the file wait, because a player that does not know the stored place has begun at 0 and would write over it. The first
 * read goes over HTTP beside the connection that opens, and so takes one round trip. Later reads use the connection.
 */

/** After this an application goes on without the stored progress. It still comes. */
const READY_WITHIN_MS = 5000;
const RETRY_MS = 2000;
/** As the server derives it: see docs/protocol.md. */
const RESUME_FROM_MS = 5000;
const RESUME_BACK_MS = 2000;

export interface StoredPlaceParts {
  clock: Clock;
  connection: Connection;
  queue: BeatQueue;
  held: HeldProgress;
  /** Ends everything. */
  signal: AbortSignal;
  /** Called with the place to resume at, in seconds. */
  onPlace(resumeAt: number): void;
  onError(error: WireError): void;
  /** Beats that waited for the stored place may go. */
  onKnown(): void;
}

export interface StoredPlace {
  /** Whether the stored place is known, or the server has none. */
  readonly isKnown: boolean;
  readonly ready: Promise<FileProgress | null>;
  /** Reads over HTTP, unless there is something that an earlier page left behind: the answer has to count that in. */
  readEarly(token: string): Promise<void>;
  read(): Promise<void>;
  /** Reads the places of other files whose beats wait for them. */
  readOthers(): void;
  onState(state: ConnectionState): void;
  onQueueChanged(): void;
  /** Resolves when the queue is as asked, or after `withinMs`. */
  waitUntil(isDone: () => boolean, withinMs: number): Promise<void>;
}

export function createStoredPlace(
  { clock, connection, queue, held, signal, onPlace, onError, onKnown }: StoredPlaceParts,
  { url, fileId, sessionId }: { url: string; fileId: string; sessionId: string },
): StoredPlace {
  const waiting = new Set<() => void>();
  let isKnown = false;
  let wasReadEarly = false;
  let cancelRead = () => {};

  let settleReady = () => {};
  const ready = new Promise<FileProgress | null>((resolve) => {
    settleReady = () => resolve(held.current);
  });
  clock.after(READY_WITHIN_MS, () => {
    settleReady();
    resumeFromKept();
  });

  /** Where no server tells the place, the beats that the page before has left tell it. */
  function resumeFromKept(): void {
    const kept = queue.beats.filter((beat) => beat.fileId === fileId && beat.sessionId !== sessionId).at(-1);
    if (isKnown || !kept || kept.state === "ended" || kept.positionMs < RESUME_FROM_MS) return;
    onPlace((kept.positionMs - RESUME_BACK_MS) / 1000);
  }

  function know(): void {
    const isFirst = !isKnown;
    isKnown = true;
    queue.place(fileId, toMs(held.current?.position ?? 0));
    settleReady();
    if (isFirst && held.current) onPlace(held.current.resumeAt);
    onKnown();
  }

  function waitUntil(isDone: () => boolean, withinMs: number): Promise<void> {
    return new Promise((resolve) => {
      const finish = () => {
        waiting.delete(check);
        resolve();
      };
      const check = () => isDone() && finish();
      waiting.add(check);
      clock.after(withinMs, finish);
      check();
    });
  }

  function ask(fileId: string, minVersion?: number): Promise<Ack<{ progress: FileProgress }> | null> {
    return connection.call("progress:get", { fileId, minVersion });
  }

  /** Waits for the queue first, so that the answer counts in what an earlier page left behind. */
  async function read(): Promise<void> {
    cancelRead();
    await waitUntil(() => queue.beats.every((beat) => beat.unplaced), RETRY_MS);
    const answer = await ask(fileId, held.newestVersion);
    if (signal.aborted) return;
    if (answer?.ok) held.take(answer.progress, "read");
    else {
      if (answer) onError(answer.error);
      if (!answer || isWorthRetrying(answer.error)) {
        if (connection.state === "online") cancelRead = clock.after(answer?.error.retryAfterMs ?? RETRY_MS, read);
        return;
      }
    }
    know();
  }

  async function readOther(other: string): Promise<void> {
    const answer = await ask(other);
    if (!answer || (!answer.ok && isWorthRetrying(answer.error))) return;
    queue.place(other, answer.ok ? toMs(answer.progress.position) : 0);
    onKnown();
  }

  return {
    ready,
    get isKnown() {
      return isKnown;
    },
    async readEarly(token) {
      if (isKnown || queue.beats.some((beat) => beat.sessionId !== sessionId)) return;
      try {
        const headers = { authorization: `Bearer ${token}` };
        const response = await fetch(`${url}/v1/progress/files/${encodeURIComponent(fileId)}`, { headers, signal });
        if (!response.ok || isKnown) return;
        held.take((await response.json()) as FileProgress, "read");
        wasReadEarly = connection.state !== "online";
        know();
      } catch {
        // The connection reads it too, and says what is wrong.
      }
    },
    read,
    readOthers() {
      const others = queue.beats.filter((beat) => beat.unplaced && beat.fileId !== fileId);
      for (const other of new Set(others.map((beat) => beat.fileId))) void readOther(other);
    },
    onState(state) {
      if (state === "offline") resumeFromKept();
      if (state !== "online") return;
      if (!wasReadEarly) void read();
      wasReadEarly = false;
    },
    onQueueChanged() {
      for (const check of waiting) check();
    },
    waitUntil,
  };
}
