import { EventEmitter, once } from "node:events";
import { io, type Socket } from "socket.io-client";
import type { WireError } from "../../src/errors.ts";
import type { Ack } from "../../src/protocol/ack.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";

/*
 * Players under load that lose nothing: each (user, file) keeps a queue of beats, sends the oldest until it is acked,
 * always with the same number and content, and writes down what was acked. That log is what a database is held to.
 */

type RangeMs = [fromMs: number, toMs: number];

/** Every (user, file) has a window of the media of its own, so that nobody's data is taken for another's. */
export const WINDOW_MS = 5_000_000;
/** What one beat claims; with its cost and the pace below, far less than a user's budget grows. */
const CLAIM_MS = 60;
const PACE_MS = 400;
/** Longer than any outage here: what is answered late counts as answered. */
const ACK_TIMEOUT_MS = 30_000;
const RECONNECT_MS = 100;
/** Some player always has news, unless the server is stuck. */
const NEWS_TIMEOUT_MS = 60_000;

interface QueuedBeat {
  seq: number;
  positionMs: number;
  played: RangeMs;
  madeAt: number;
}

/** One (user, file), and what is known of it. */
export interface Stream {
  userId: string;
  fileId: string;
  windowFromMs: number;
  /** The session that all its beats name. */
  sessionId: string;
  acked: { seq: number; positionMs: number; played: RangeMs }[];
  /** Acked without the claimed range among what was watched: the budget cut it. */
  cut: RangeMs[];
  /** The union at the last ack, in ms. */
  watchedAtAck: RangeMs[];
  lastMadePositionMs: number | null;
  /** Whether a reset, a mix-up or a broken promise was seen in an ack. */
  faults: string[];
}

export interface LoadOptions {
  url: string;
  users: string[];
  /** Each user plays all of them at once. */
  fileIds: string[];
  mintToken: (userId: string) => Promise<string>;
  paceMs?: number;
  /** Where several loads share files: how many windows are others'. */
  firstWindow?: number;
}

/** Starts the players; they go on until `settle` or `stop`. */
export async function startLoad(options: LoadOptions): Promise<Load> {
  const load = new Load(options);
  await load.connect();
  return load;
}

export class Load {
  readonly streams: Stream[];
  /** Refusals as they came. */
  readonly refusals: WireError[] = [];
  /** Beats that were sent and not answered before their connection ended. */
  unanswered = 0;
  readonly #options: LoadOptions;
  readonly #players: Player[];
  readonly #events = new EventEmitter().setMaxListeners(0);
  #ackedCount = 0;

  constructor(options: LoadOptions) {
    this.#options = options;
    this.streams = options.users.flatMap((userId, user) =>
      options.fileIds.map(
        (fileId, file): Stream => ({
          userId,
          fileId,
          windowFromMs: ((options.firstWindow ?? 0) + user * options.fileIds.length + file) * WINDOW_MS,
          sessionId: `${userId}/${fileId}`,
          acked: [],
          cut: [],
          watchedAtAck: [],
          lastMadePositionMs: null,
          faults: [],
        }),
      ),
    );
    const report = {
      acked: () => {
        this.#ackedCount += 1;
        this.#events.emit("acked");
      },
      refused: (error: WireError) => {
        this.refusals.push(error);
        this.#events.emit("refused", error);
      },
      unanswered: () => {
        this.unanswered += 1;
      },
    };
    this.#players = options.users.map((userId) => {
      const streams = this.streams.filter((stream) => stream.userId === userId);
      return new Player({ streams, paceMs: options.paceMs ?? PACE_MS, report });
    });
  }

  get ackedCount(): number {
    return this.#ackedCount;
  }

  async connect(): Promise<void> {
    await Promise.all(
      this.#players.map(async (player) =>
        player.connect(this.#options.url, await this.#options.mintToken(player.userId)),
      ),
    );
  }

  /** Resolves when so many more beats are acked than now. */
  async ackedMore(count: number): Promise<void> {
    const goal = this.#ackedCount + count;
    while (this.#ackedCount < goal) await this.#next("acked", `${goal - this.#ackedCount} more acks`);
  }

  /** Waits for players' news; one that never comes is told apart from a slow machine by what is known. */
  async #next(event: "acked" | "refused", what: string): Promise<unknown> {
    try {
      const [news] = await once(this.#events, event, { signal: AbortSignal.timeout(NEWS_TIMEOUT_MS) });
      return news;
    } catch (error) {
      const faults = this.streams.flatMap((stream) => stream.faults);
      const last = JSON.stringify(faults.at(-1) ?? this.refusals.at(-1));
      const known = `${this.#ackedCount} acked, ${this.connected} of ${this.#players.length} connected, last refusal ${last}`;
      throw new Error(`Waited ${NEWS_TIMEOUT_MS} ms for ${what}: ${known}`, { cause: error });
    }
  }

  /** Resolves at the next refusal that the check takes. */
  async refused(check: (error: WireError) => boolean): Promise<WireError> {
    for (;;) {
      const error = (await this.#next("refused", "a refusal")) as WireError;
      if (check(error)) return error;
    }
  }

  /** No new beats from now on; those in the queues are still sent. */
  pause(): void {
    for (const player of this.#players) player.pause();
  }

  resume(): void {
    for (const player of this.#players) player.resume();
  }

  /** No new beats; resolves when every queue is empty: all that was ever made is acked. */
  async settle(): Promise<void> {
    this.pause();
    while (this.#players.some((player) => player.queued > 0)) await this.#next("acked", "the last acks");
  }

  /** How many players are connected now. */
  get connected(): number {
    return this.#players.filter((player) => player.connected).length;
  }

  /** Sends no more on open connections, as the SDK when a server drains; beats under way may still be answered. */
  hold(): void {
    for (const player of this.#players) player.hold();
  }

  /** Goes on after `hold`, on the connections that are open. */
  reopen(): void {
    for (const player of this.#players) player.reopen();
  }

  stop(): void {
    for (const player of this.#players) player.stop();
  }
}

interface PlayerReport {
  acked(): void;
  refused(error: WireError): void;
  unanswered(): void;
}

/** One user with one connection, which plays several files at once. */
class Player {
  readonly #streams: StreamSender[];
  #socket: Socket | null = null;
  #reconnect: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor({ streams, paceMs, report }: { streams: Stream[]; paceMs: number; report: PlayerReport }) {
    this.#streams = streams.map((stream) => new StreamSender(stream, paceMs, report));
  }

  get userId(): string {
    return (this.#streams[0] as StreamSender).stream.userId;
  }

  get queued(): number {
    return this.#streams.reduce((sum, sender) => sum + sender.queued, 0);
  }

  get connected(): boolean {
    return this.#socket?.connected === true;
  }

  connect(url: string, token: string): void {
    const socket = io(`${url}/player`, {
      auth: { token },
      transports: ["websocket"],
      forceNew: true,
      reconnectionDelay: RECONNECT_MS,
      reconnectionDelayMax: 2 * RECONNECT_MS,
    });
    this.#socket = socket;
    const again = () => {
      // Socket.IO tries again by itself where the connection failed, and not where the server refused or ended it.
      if (!socket.active && !this.#isStopped) this.#reconnect = setTimeout(() => socket.connect(), RECONNECT_MS);
    };
    socket.on("connect", () => {
      for (const sender of this.#streams) sender.connected(socket);
    });
    socket.on("disconnect", () => {
      for (const sender of this.#streams) sender.disconnected();
      again();
    });
    socket.on("connect_error", again);
    socket.on("server:draining", () => this.hold());
  }

  pause(): void {
    for (const sender of this.#streams) sender.playing = false;
  }

  resume(): void {
    for (const sender of this.#streams) {
      sender.playing = true;
      sender.advance();
    }
  }

  hold(): void {
    for (const sender of this.#streams) sender.hold();
  }

  reopen(): void {
    if (this.#socket?.connected) for (const sender of this.#streams) sender.connected(this.#socket);
  }

  stop(): void {
    this.#isStopped = true;
    this.pause();
    clearTimeout(this.#reconnect);
    for (const sender of this.#streams) sender.disconnected();
    this.#socket?.disconnect();
  }
}

/** Plays one file: makes a beat every so often, and has one of them under way at a time, the oldest. */
class StreamSender {
  readonly stream: Stream;
  playing = true;
  readonly #paceMs: number;
  readonly #report: PlayerReport;
  readonly #queue: QueuedBeat[] = [];
  #socket: Socket | null = null;
  #underWay = false;
  #timer: NodeJS.Timeout | undefined;
  #seq = 0;
  #cursorMs: number;

  constructor(stream: Stream, paceMs: number, report: PlayerReport) {
    this.stream = stream;
    this.#paceMs = paceMs;
    this.#report = report;
    this.#cursorMs = stream.windowFromMs;
  }

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
    // Every now and then the learner goes back a little.
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
      // An answer that comes after its connection ended is nobody's: the beat was sent again.
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
