import { EventEmitter, once } from "node:events";
import { io, type Socket } from "socket.io-client";
import type { WireError } from "../../src/errors.ts";
import { RECONNECT_MS, type SenderReport, type Stream, StreamSender, WINDOW_MS } from "./load-stream.ts";

/*
 * Many players at once that lose nothing: they send every beat until it is acked, over new connections where needed, and
 * write the acks down. `findBrokenPromises` compares a database with these acks.
 */

const PACE_MS = 400;
/** Some player always gets an ack or a refusal within this time, unless the server is stuck. */
const NEWS_TIMEOUT_MS = 60_000;

export interface LoadOptions {
  url: string;
  users: string[];
  /** Each user plays all these files at once. */
  fileIds: string[];
  mintToken: (userId: string) => Promise<string>;
  paceMs?: number;
  /** How many windows belong to other loads that play the same files. */
  firstWindow?: number;
}

/** Starts the players. They go on until `settle` or `stop`. */
export async function startLoad(options: LoadOptions): Promise<Load> {
  const load = new Load(options);
  await load.connect();
  return load;
}

export class Load {
  readonly streams: Stream[];
  /** Every refusal, in order. */
  readonly refusals: WireError[] = [];
  /** How many beats were sent whose connection ended before the answer. */
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

  /** Resolves when so many beats are acked from now on. */
  async ackedMore(count: number): Promise<void> {
    const goal = this.#ackedCount + count;
    while (this.#ackedCount < goal) await this.#next("acked", `${goal - this.#ackedCount} more acks`);
  }

  /** Waits for the next event of any player. @throws Error that says what the players know, where none comes */
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

  /** Resolves with the next refusal that the check accepts. */
  async refused(check: (error: WireError) => boolean): Promise<WireError> {
    for (;;) {
      const error = (await this.#next("refused", "a refusal")) as WireError;
      if (check(error)) return error;
    }
  }

  /** Makes no new beats from now on. Those that are made are still sent. */
  pause(): void {
    for (const player of this.#players) player.pause();
  }

  resume(): void {
    for (const player of this.#players) player.resume();
  }

  /** Makes no new beats, and resolves when every beat that was made is acked. */
  async settle(): Promise<void> {
    this.pause();
    while (this.#players.some((player) => player.queued > 0)) await this.#next("acked", "the last acks");
  }

  /** How many players are connected now. */
  get connected(): number {
    return this.#players.filter((player) => player.connected).length;
  }

  /** Sends nothing more on the open connections, as the SDK does when a server drains. */
  hold(): void {
    for (const player of this.#players) player.hold();
  }

  /** Goes on after `hold`, on the same connections. */
  reopen(): void {
    for (const player of this.#players) player.reopen();
  }

  stop(): void {
    for (const player of this.#players) player.stop();
  }
}

/** One user, who plays several files over one connection. */
class Player {
  readonly #streams: StreamSender[];
  #socket: Socket | null = null;
  #reconnect: NodeJS.Timeout | undefined;
  #isStopped = false;

  constructor({ streams, paceMs, report }: { streams: Stream[]; paceMs: number; report: SenderReport }) {
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
      // Socket.IO connects again by itself, except where the server refused or ended the connection.
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
