import type { WireError } from "../errors.ts";
import type { BriefAck } from "../protocol/brief-ack.ts";
import type { Ack, FileProgress, Heartbeat } from "../protocol/wire.ts";
import type { SentBeat } from "./beat-queue.ts";
import { toBackoffMs } from "./clock.ts";
import type { CutReason } from "./player-api.ts";
import type { PlayerParts } from "./player-parts.ts";

/*
 * Brings the queue to the server, one call at a time, oldest beat first. A beat leaves the queue when the server took it,
 * or refused it in a way that a repeat would not change. Every other beat is sent again. After a failure one beat goes
 * alone, as a question whether the server is back: a beat that was sent can be joined with no other any more, and
 * thousands of players must not bring all they have to a server that cannot take it.
 */

/** How the server acks a beat that it took: with the whole progress, or briefly. */
export type BeatAck = ({ progress: FileProgress; nextBeatMs: number } | BriefAck) & { cut?: CutReason[] };

/** A beat that is refused with one of these codes would be refused for ever. It must not hold back the others. */
const HOPELESS: readonly string[] = ["bad_request", "not_found", "forbidden", "conflict"];
/** How long beats of a file are kept that the server's catalogue does not have yet. */
const KEEP_UNKNOWN_MS = 10 * 60_000;

/** Whether a repeat may succeed. The server says `retryAfterMs` with `unknown_file` where its catalogue may be behind. */
export function isWorthRetrying({ code, retryAfterMs }: WireError): boolean {
  return code === "unknown_file" ? retryAfterMs !== undefined : !HOPELESS.includes(code);
}

/** Why a beat has to be sent again: what the server said, or nothing where no answer came. */
type Failure = Partial<WireError>;

/**
 * @param onChange called when beats of the queue were sent or removed
 * @returns wakes the delivery. Call it when there is a new beat, or a new connection
 */
export function createDelivery(
  { queue, clock, connection, emit }: PlayerParts,
  onChange: () => void,
  onAck: (ack: BeatAck, beat: Heartbeat) => void,
): () => Promise<void> {
  let isBusy = false;
  let isPausing = false;
  let failures = 0;
  /** How many beats to send one by one: the server refused a batch as a whole, and one of them spoils it. */
  let singly = 0;
  /** Since when the server does not know a file, and whether its beats wait at the moment. */
  const unknownFiles = new Map<string, { sinceMs: number; isWaiting: boolean }>();

  async function pump(): Promise<void> {
    if (isBusy) return;
    isBusy = true;
    while (!isPausing && connection.state === "online") {
      const batch = takeBatch();
      if (batch.length === 0) break;
      const failure = await send(batch);
      if (!failure) failures = 0;
      // Without a connection there is no need to wait: the next connection wakes the delivery.
      else if (connection.state === "online") pause(toBackoffMs(failures++, failure.retryAfterMs));
    }
    isBusy = false;
  }

  function pause(ms: number): void {
    isPausing = true;
    clock.after(ms, () => {
      isPausing = false;
      void pump();
    });
  }

  /** Of a file that the server does not know one beat goes at a time. */
  function takeBatch(): SentBeat[] {
    const asked = new Set<string>();
    return queue.takeBatch(singly > 0 || failures > 0 ? 1 : undefined, ({ fileId }) => {
      const unknown = unknownFiles.get(fileId);
      const mayGo = !unknown?.isWaiting && !asked.has(fileId);
      if (unknown) asked.add(fileId);
      return mayGo;
    });
  }

  /** @returns null where the server answered every beat */
  async function send(batch: SentBeat[]): Promise<Failure | null> {
    onChange();
    const beats = batch.map(({ wire }) => wire);
    let answers: Ack<BeatAck>[];
    if (beats.length === 1) {
      const answer = await connection.call<BeatAck>("heartbeat", beats[0] as Heartbeat);
      if (!answer) return {};
      answers = [answer];
    } else {
      const answer = await connection.call<{ results: Ack<BeatAck>[] }>("heartbeats", { beats });
      if (!answer) return {};
      if (!answer.ok) {
        if (isWorthRetrying(answer.error)) return answer.error;
        singly = beats.length;
        return null;
      }
      answers = answer.results;
    }
    if (singly > 0) singly--;
    const outcomes = batch.map((sent, index) => settle(sent, answers[index]));
    onChange();
    return outcomes.find((failure) => failure) ?? null;
  }

  function settle({ beat, wire }: SentBeat, answer: Ack<BeatAck> | undefined): Failure | null {
    if (!answer) return {};
    if (answer.ok) unknownFiles.delete(beat.fileId);
    else if (isWorthRetrying(answer.error)) {
      if (answer.error.code !== "unknown_file") return answer.error;
      if (keepUnknown(beat.fileId, answer.error)) return null;
    }
    queue.settle(beat);
    if (answer.ok) onAck(answer, wire);
    else emit("error", answer.error, wire);
    return null;
  }

  /**
   * Lets the beats of a file wait for the catalogue. Beats of other files go on.
   * @returns false where the server did not know the file for too long
   */
  function keepUnknown(fileId: string, { retryAfterMs }: WireError): boolean {
    const now = clock.monotonicMs();
    const unknown = unknownFiles.get(fileId) ?? { sinceMs: now, isWaiting: true };
    if (now - unknown.sinceMs > KEEP_UNKNOWN_MS) return false;
    unknown.isWaiting = true;
    unknownFiles.set(fileId, unknown);
    clock.after(toBackoffMs(0, retryAfterMs), () => {
      unknown.isWaiting = false;
      void pump();
    });
    return true;
  }

  return pump;
}
