import type { WireError } from "../errors.ts";
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
}

export interface StoredPlaceListeners {
  /** The place to resume at, in seconds. */
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
  stop(): void;
}

export function createStoredPlace(
  { clock, connection, queue, held }: StoredPlaceParts,
  { url, fileId, sessionId }: { url: string; fileId: string; sessionId: string },
  listeners: StoredPlaceListeners,
): StoredPlace {
  const stopEarlyRead = new AbortController();
  let isStopped = false;
  let isKnown = false;
  let wasReadEarly = false;
  let cancelRead = () => {};
  let waiting: (() => void)[] = [];

  let settleReady = () => {};
  const ready = new Promise<FileProgress | null>((resolve) => {
    settleReady = () => resolve(held.current);
  });
  const cancelReady = clock.after(READY_WITHIN_MS, () => {
    settleReady();
    resumeFromKept();
  });

  /** Where no server tells the place, the beats that the page before has left tell it. */
  function resumeFromKept(): void {
    const kept = queue.beats.filter((beat) => beat.fileId === fileId && beat.sessionId !== sessionId).at(-1);
    if (isKnown || !kept || kept.state === "ended" || kept.positionMs < RESUME_FROM_MS) return;
    listeners.onPlace((kept.positionMs - RESUME_BACK_MS) / 1000);
  }

  function know(): void {
    const isFirst = !isKnown;
    isKnown = true;
    stopEarlyRead.abort();
    queue.place(fileId, toMs(held.current?.position ?? 0));
    if (isFirst) {
      cancelReady();
      settleReady();
      if (held.current) listeners.onPlace(held.current.resumeAt);
    }
    listeners.onKnown();
  }

  function waitUntil(isDone: () => boolean, withinMs: number): Promise<void> {
    if (isDone()) return Promise.resolve();
    return new Promise((resolve) => {
      const finish = () => {
        cancel();
        waiting = waiting.filter((other) => other !== check);
        resolve();
      };
      const check = () => isDone() && finish();
      const cancel = clock.after(withinMs, finish);
      waiting.push(check);
    });
  }

  /** Waits for the queue first, so that the answer counts in what an earlier page left behind. */
  async function read(): Promise<void> {
    cancelRead();
    await waitUntil(() => queue.beats.every((beat) => beat.unplaced), RETRY_MS);
    const question = { fileId, minVersion: held.newestVersion };
    const answer = await connection.call<{ progress: FileProgress }>("progress:get", question);
    if (isStopped) return;
    if (answer?.ok) {
      held.take(answer.progress, "read");
      return know();
    }
    if (answer) listeners.onError(answer.error);
    if (answer && !isWorthRetrying(answer.error)) know();
    else if (connection.state === "online")
      cancelRead = clock.after(answer?.error.retryAfterMs ?? RETRY_MS, () => void read());
  }

  async function readOther(other: string): Promise<void> {
    const answer = await connection.call<{ progress: FileProgress }>("progress:get", { fileId: other });
    if (!answer || (!answer.ok && isWorthRetrying(answer.error))) return;
    queue.place(other, answer.ok ? toMs(answer.progress.position) : 0);
    listeners.onKnown();
  }

  return {
    ready,
    get isKnown() {
      return isKnown;
    },
    async readEarly(token) {
      if (isKnown || queue.beats.some((beat) => beat.sessionId !== sessionId)) return;
      try {
        const response = await fetch(`${url}/v1/progress/files/${encodeURIComponent(fileId)}`, {
          headers: { authorization: `Bearer ${token}` },
          signal: stopEarlyRead.signal,
        });
        if (!response.ok) return;
        const progress = (await response.json()) as FileProgress;
        held.take(progress, "read");
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
      for (const check of [...waiting]) check();
    },
    waitUntil,
    stop() {
      isStopped = true;
      stopEarlyRead.abort();
      cancelReady();
      cancelRead();
    },
  };
}
