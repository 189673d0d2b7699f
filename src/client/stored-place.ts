import { toMs } from "../protocol/ranges.ts";
import type { FileProgress } from "../protocol/wire.ts";
import type { ConnectionState } from "./connection.ts";
import { isWorthRetrying } from "./delivery.ts";
import type { PlayerParts } from "./player-parts.ts";

/*
 * Reads the stored progress of the player's file: where to resume, and which epoch it is. Until it is read, the beats of
 * the file wait, because a player that does not know the stored place has begun at 0 and would write over it. The first
 * read goes over HTTP beside the connection that opens, and so takes one round trip. Later reads use the connection.
 */

/** After this an application goes on without the stored progress. It still comes. */
const READY_WITHIN_MS = 5000;
const RETRY_MS = 2000;
/** How often the queue is looked at where something waits for it. */
const LOOK_MS = 25;
/** As the server derives it: see docs/protocol.md. */
const RESUME_FROM_MS = 5000;
const RESUME_BACK_MS = 2000;

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
  /** Resolves when the queue is as asked, or after `withinMs`. */
  waitUntil(isDone: () => boolean, withinMs: number): Promise<void>;
}

/**
 * @param onPlace called with the place to resume at, in seconds
 * @param onKnown called when beats that waited for the stored place may go
 */
export function createStoredPlace(
  { clock, connection, queue, held, signal, url, fileId, sessionId, emit }: PlayerParts,
  onPlace: (resumeAt: number) => void,
  onKnown: () => void,
): StoredPlace {
  let isKnown = false;
  let wasOnline = false;
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
    const kept = queue.beats.findLast((beat) => beat.fileId === fileId && beat.sessionId !== sessionId);
    if (isKnown || !kept || kept.state === "ended" || kept.positionMs < RESUME_FROM_MS) return;
    onPlace((kept.positionMs - RESUME_BACK_MS) / 1000);
  }

  /** @param progress the stored progress of a file; null where the server has none */
  function know(file: string, progress: FileProgress | null): void {
    queue.place(file, toMs(progress?.position ?? 0));
    if (file === fileId && !isKnown) {
      isKnown = true;
      settleReady();
      if (progress) onPlace(progress.resumeAt);
    }
    onKnown();
  }

  async function waitUntil(isDone: () => boolean, withinMs: number): Promise<void> {
    const endMs = clock.monotonicMs() + withinMs;
    while (!isDone() && clock.monotonicMs() < endMs)
      await new Promise<void>((resolve) => clock.after(LOOK_MS, resolve));
  }

  /** Asks for the stored progress of a file. Of another file nothing is told: only its beats wait for it. */
  async function read(file = fileId): Promise<void> {
    const isOwn = file === fileId;
    if (isOwn) {
      cancelRead();
      // The answer has to count in what an earlier page left behind.
      await waitUntil(() => queue.beats.every((beat) => beat.unplaced), RETRY_MS);
    }
    const question = { fileId: file, minVersion: isOwn ? held.newestVersion : undefined };
    const answer = await connection.call<{ progress: FileProgress }>("progress:get", question);
    if (signal.aborted) return;
    if (answer?.ok) {
      held.take(answer.progress, "read");
      return know(file, answer.progress);
    }
    if (answer && isOwn) emit("error", answer.error, null);
    if (answer && !isWorthRetrying(answer.error)) know(file, null);
    else if (isOwn && connection.state === "online")
      cancelRead = clock.after(answer?.error.retryAfterMs ?? RETRY_MS, () => void read());
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
        const progress = (await response.json()) as FileProgress;
        held.take(progress, "read");
        know(fileId, progress);
      } catch {
        // The connection reads it too, and says what is wrong.
      }
    },
    read,
    readOthers() {
      for (const { fileId: file } of queue.beats.filter((beat) => beat.unplaced && beat.fileId !== fileId))
        void read(file);
    },
    onState(state) {
      if (state === "offline") resumeFromKept();
      if (state !== "online") return;
      if (wasOnline || !isKnown) void read();
      wasOnline = true;
    },
    waitUntil,
  };
}
