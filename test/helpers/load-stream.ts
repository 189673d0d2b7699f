import type { Socket } from "socket.io-client";
import type { WireError } from "../../src/errors.ts";
import type { Ack } from "../../src/protocol/ack.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";

/*
 * The beats of one user in one file. They are sent one at a time, each until it is acked and always with the same
 * number and content, and every ack is written down.
 */

export type RangeMs = [fromMs: number, toMs: number];

/** Every (user, file) plays a part of the media of its own: data that is mixed up with another's shows. */
export const WINDOW_MS = 5_000_000;
/** What one beat claims to have played. At the pace of the players the watch budget of a user grows faster. */
const CLAIM_MS = 60;
/** Longer than any outage in the tests. */
const ACK_TIMEOUT_MS = 30_000;
/** How soon a player sends again where the server does not say when. */
export const RECONNECT_MS = 100;

interface QueuedBeat {
  seq: number;
  positionMs: number;
  played: RangeMs;
  madeAt: number;
}

/** One (user, file), and all that its acks said. */
export interface Stream {
  userId: string;
  fileId: string;
  /** The start of the part that is played. */
  windowFromMs: number;
  /** The session that all beats name. */
  sessionId: string;
  acked: { seq: number; positionMs: number; played: RangeMs }[];
  /** The ranges that an ack left out of what was watched, because the watch budget cut them. */
  cut: RangeMs[];
  /** The watched ranges of the last ack. */
  watchedAtAck: RangeMs[];
  lastMadePositionMs: number | null;
  /** What was wrong with acks: refusals for good, and the data of others. */
  faults: string[];
}

/** What a sender tells the load that it belongs to. */
export interface SenderReport {
  acked(): void;
  refused(error: WireError): void;
  unanswered(): void;
}

/** Plays one file: makes a beat, sends it until it is acked, waits for the pace, and makes the next. */
export class StreamSender {
  readonly stream: Stream;
  playing = true;
  readonly #paceMs: number;
  readonly #report: SenderReport;
  readonly #queue: QueuedBeat[] = [];
  #socket: Socket | null = null;
  #underWay = false;
  #timer: NodeJS.Timeout | undefined;
  #seq = 0;
  #cursorMs: number;

  constructor(stream: Stream, paceMs: number, report: SenderReport) {
    this.stream = stream;
    this.#paceMs = paceMs;
    this.#report = report;
    this.#cursorMs = stream.windowFromMs;
  }

  /** How many beats are made and not acked. */
  get queued(): number {
    return this.#queue.length;
  }

  connected(socket: Socket): void {
    this.#socket = socket;
    this.advance();
  }

  disconnected(): void {
    if (this.#underWay) this.#report.unanswered();
    this.#underWay = false;
    this.#socket = null;
    clearTimeout(this.#timer);
  }

  /** Sends nothing until `connected` is called again. */
  hold(): void {
    this.#socket = null;
    clearTimeout(this.#timer);
  }

  advance(): void {
    if (this.#underWay || this.#socket === null) return;
    if (this.#queue.length === 0 && this.playing) this.#queue.push(this.#makeBeat());
    const [beat] = this.#queue;
    if (beat !== undefined) this.#send(this.#socket, beat);
  }

  #makeBeat(): QueuedBeat {
    this.#seq += 1;
    // Sometimes the learner goes back a little.
    if (this.#seq % 7 === 0) this.#cursorMs = Math.max(this.stream.windowFromMs, this.#cursorMs - 2 * CLAIM_MS);
    const played: RangeMs = [this.#cursorMs, this.#cursorMs + CLAIM_MS];
    this.#cursorMs = played[1];
    this.stream.lastMadePositionMs = played[1];
    return { seq: this.#seq, positionMs: played[1], played, madeAt: performance.now() };
  }

  #send(socket: Socket, beat: QueuedBeat): void {
    this.#underWay = true;
    const payload = {
      fileId: this.stream.fileId,
      position: beat.positionMs / 1000,
      played: [beat.played.map((ms) => ms / 1000)],
      ageMs: performance.now() - beat.madeAt,
      sessionId: this.stream.sessionId,
      seq: beat.seq,
    };
    const answered = (failure: Error | null, ack?: Ack<{ progress: FileProgress }>) => {
      // The connection ended before the answer: the beat is sent again on the next one.
      if (!socket.connected || !this.#underWay) return;
      this.#underWay = false;
      if (failure !== null) this.#report.unanswered();
      this.#onAnswer(beat, ack);
    };
    socket.timeout(ACK_TIMEOUT_MS).emit("heartbeat", payload, answered);
  }

  #onAnswer(beat: QueuedBeat, ack: Ack<{ progress: FileProgress }> | undefined): void {
    if (ack?.ok) {
      this.#queue.shift();
      this.#log(beat, ack.progress);
      this.#report.acked();
      this.#timer = setTimeout(() => this.advance(), this.#paceMs);
      return;
    }
    if (ack !== undefined) {
      if (ack.error.retryAfterMs === undefined)
        this.stream.faults.push(`refused for good: ${JSON.stringify(ack.error)}`);
      this.#report.refused(ack.error);
    }
    this.#timer = setTimeout(() => this.advance(), ack?.error.retryAfterMs ?? RECONNECT_MS);
  }

  #log({ seq, positionMs, played }: QueuedBeat, progress: FileProgress): void {
    const { stream } = this;
    if (progress.userId !== stream.userId || progress.fileId !== stream.fileId) {
      stream.faults.push(`an ack spoke of ${progress.userId} and ${progress.fileId}`);
    }
    stream.acked.push({ seq, positionMs, played });
    stream.watchedAtAck = progress.watched.map(
      ([from, to]): RangeMs => [Math.round(from * 1000), Math.round(to * 1000)],
    );
    if (!covers(stream.watchedAtAck, played)) stream.cut.push(played);
  }
}

/** Whether a sorted union holds the whole range. */
export function covers(union: readonly Readonly<RangeMs>[], [from, to]: Readonly<RangeMs>): boolean {
  return union.some((range) => range[0] <= from && to <= range[1]);
}
