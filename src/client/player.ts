import type { WireError } from "../errors.ts";
import type { Heartbeat, PlayerState } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { fromSeconds, toMs, toSeconds, unionOf } from "../protocol/ranges.ts";
import { createBeatQueue, type Observation } from "./beat-queue.ts";
import { type BeatShelf, type BeatStorage, createBeatShelf, openLocalStorage } from "./beat-storage.ts";
import { type Clock, systemClock, toMoment } from "./clock.ts";
import { type ConnectionState, createConnection } from "./connection.ts";
import { createDelivery } from "./delivery.ts";
import { createListeners } from "./listeners.ts";
import { followPage, sendBeacon } from "./page-life.ts";
import { createPlayedTracker, type PlayedTracker } from "./played-tracker.ts";
import { type TokenSource, toSubject } from "./token-source.ts";

const DEFAULT_BEAT_MS = 10_000;
/** How long the first beat waits for the stored progress, which says where to resume and which epoch it is. */
const FIRST_READ_MS = 5000;
const READ_RETRY_MS = 2000;
const ADOPT_EVERY_MS = 60_000;
const CLOSE_WITHIN_MS = 2000;

export interface PlayerOptions {
  /** Where the server is; in a browser by default where the page came from. */
  url?: string;
  /** A token, or a function that gets one: it is called at every connect and before a token ends. */
  token: TokenSource;
  fileId: string;
  /** Where unacked beats outlive a reload: localStorage in browsers, nowhere in Node. `null` switches it off. */
  storage?: BeatStorage | null;
  /** Whose beats are kept, where the token is no JWT whose `sub` says so. */
  userId?: string;
  /** For tests. */
  clock?: Clock;
}

/** Where the media is now. */
export interface Report {
  /** Seconds. */
  position: number;
  state?: PlayerState;
  rate?: number;
}

export type PlayerEvents = {
  state: [ConnectionState];
  /** The newest progress of this player's file: read, acked, or moved on by another device of the same user. */
  progress: [FileProgress, "read" | "acked" | "remote"];
  /** The server refused a beat for good; it is dropped, so that it does not hold back the others. */
  error: [WireError, Heartbeat | null];
};

export interface Player {
  readonly fileId: string;
  readonly sessionId: string;
  readonly state: ConnectionState;
  /** The newest known; null until the first came. */
  readonly progress: FileProgress | null;
  /** Beats that the server has not yet made durable. */
  readonly pending: number;
  /** What was watched, in seconds: what the server holds, and what was measured here and is on its way. */
  readonly watched: [from: number, to: number][];
  /** Resolves with the stored progress, or null where none came within five seconds: then play on without. */
  readonly ready: Promise<FileProgress | null>;
  /** Says where the media is. Call it as often as you like; a change of state is sent at once, the rest at the server's pace. */
  report(report: Report): void;
  /** Notes that this part was really played, in seconds. */
  played(from: number, to: number): void;
  /** Sends what there is now. */
  beat(): void;
  /** Forgets the file's progress, on the server and here. */
  reset(): Promise<{ ok: true } | { ok: false; error: WireError }>;
  on<Name extends keyof PlayerEvents>(name: Name, listener: (...args: PlayerEvents[Name]) => void): () => void;
  /** Sends what is left, waits shortly for its ack, and ends. What was not acked stays in storage. */
  close(): Promise<void>;
}

/** What a follower of a media element needs beside the player's public face. */
export interface PlayerHooks {
  tracker: PlayedTracker;
  /** Called before every beat, to report the latest position. */
  onBeforeBeat?: () => void;
  /** Called before the first beat, with the stored progress if it came in time. */
  onReady?: (progress: FileProgress | null) => void;
  onClose?: () => void;
}

type Sight = Omit<Observation, "epoch" | "fileId">;

/** A player without a media element: say with `report` where it is and with `played` what was played. */
export function createPlayer(options: PlayerOptions): Player {
  return createPlayerWith(options, { tracker: createPlayedTracker() });
}

export function createPlayerWith(options: PlayerOptions, hooks: PlayerHooks): Player {
  const { fileId, clock = systemClock } = options;
  const url = options.url ?? globalThis.location?.origin;
  if (!url) throw new TypeError("expected the option `url`: outside a browser there is no page to take it from");
  const sessionId = createSessionId();
  const storage = options.storage === undefined ? openLocalStorage() : options.storage;
  const listeners = createListeners<PlayerEvents>();
  const queue = createBeatQueue({ clock }, { sessionId });
  const { tracker } = hooks;

  let shelf: BeatShelf | null = null;
  let seen: Sight | null = null;
  /** What the newest beat says. */
  let told: Sight | null = null;
  let progress: FileProgress | null = null;
  let nextBeatMs = DEFAULT_BEAT_MS;
  /** Beats wait: where to resume is not known yet, or a reset is under way. */
  let isHeld = true;
  let isCollecting = false;
  let isClosed = false;
  let cancelBeat = () => {};
  let cancelAdopt = () => {};
  let cancelRead = () => {};
  let drainWaiters: (() => void)[] = [];

  const connection = createConnection({ clock }, { url, namespace: "/player", token: options.token });
  const delivery = createDelivery({
    queue,
    clock,
    call: connection.call,
    isOnline: () => connection.state === "online",
    onChange() {
      save();
      if (queue.size > 0) return;
      for (const resume of drainWaiters) resume();
      drainWaiters = [];
    },
    onProgress(fresh, everyMs) {
      if (everyMs !== nextBeatMs) {
        nextBeatMs = everyMs;
        scheduleBeat();
      }
      learn(fresh, "acked");
    },
    onDropped: (error, beat) => listeners.emit("error", error, beat),
  });

  let settleReady: () => void = () => {};
  const ready = new Promise<FileProgress | null>((resolve) => {
    const cancelTimeout = clock.after(FIRST_READ_MS, () => settleReady());
    settleReady = () => {
      settleReady = () => {};
      cancelTimeout();
      isHeld = false;
      resolve(progress);
      hooks.onReady?.(progress);
      if (seen) beat();
    };
  });

  connection.onToken((token) => {
    const userId = options.userId ?? toSubject(token);
    if (!storage || shelf || userId === null) return;
    shelf = createBeatShelf({ storage, clock }, { server: url, userId, sessionId });
    save();
    adopt();
  });
  connection.onState((state) => {
    listeners.emit("state", state);
    if (state !== "online") return;
    delivery.wake();
    void readProgress();
  });
  connection.onEvent("progress", (fresh: FileProgress) => learn(fresh, "remote"));

  const stopFollowingPage = followPage({
    onHidden: () => collectNews(),
    onClosing() {
      isHeld = false;
      collectNews();
      sendLast();
    },
    onRestored: () => save(),
  });

  /** Keeps the highest version; what is older came late. */
  function learn(fresh: FileProgress, from: "read" | "acked" | "remote"): void {
    if (fresh.fileId !== fileId || (progress && fresh.version < progress.version)) return;
    progress = fresh;
    listeners.emit("progress", fresh, from);
  }

  /** What an earlier page left behind goes first, so that the answer counts it in. */
  async function readProgress(): Promise<void> {
    cancelRead();
    await waitForDrain(READ_RETRY_MS);
    const answer = await connection.call<{ progress: FileProgress }>("progress:get", {
      fileId,
      minVersion: progress?.version,
    });
    if (isClosed) return;
    if (answer?.ok) {
      learn(answer.progress, "read");
      return settleReady();
    }
    if (answer) listeners.emit("error", answer.error, null);
    const isHopeless =
      answer !== null && answer.error.code !== "unavailable" && answer.error.retryAfterMs === undefined;
    if (isHopeless) settleReady();
    if (isHopeless || connection.state !== "online") return;
    cancelRead = clock.after(answer?.error.retryAfterMs ?? READ_RETRY_MS, () => void readProgress());
  }

  /** Moves what was seen and played into the queue. */
  function collect(): void {
    isCollecting = true;
    hooks.onBeforeBeat?.();
    isCollecting = false;
    if (!seen || isHeld) return;
    told = seen;
    queue.push({ ...seen, fileId, epoch: progress?.epoch }, tracker.take());
    save();
  }

  /** The same, unless the newest beat says it all: a page that closes repeats nothing. */
  function collectNews(): void {
    isCollecting = true;
    hooks.onBeforeBeat?.();
    isCollecting = false;
    const isTold = seen?.positionMs === told?.positionMs && seen?.state === told?.state;
    if (isTold && tracker.peek().length === 0) return;
    collect();
    delivery.wake();
  }

  function scheduleBeat(): void {
    cancelBeat();
    if (!isClosed) cancelBeat = clock.after(nextBeatMs, beat);
  }

  function beat(): void {
    if (isClosed) return;
    scheduleBeat();
    collect();
    delivery.wake();
  }

  function save(closed = false): void {
    try {
      shelf?.save(queue.beats, { closed });
    } catch {
      // The storage is full: what waits is still in memory, and goes out from there.
    }
  }

  function adopt(): void {
    if (!shelf || isClosed) return;
    const { beats, release } = shelf.adopt();
    if (beats.length > 0) {
      queue.restore(beats);
      save();
      delivery.wake();
    }
    release();
    cancelAdopt = clock.after(ADOPT_EVERY_MS, adopt);
  }

  /** Nobody waits for the answer, so what was sent is kept, and sent once more by the next page. */
  function sendLast(): void {
    const batch = queue.takeBatch();
    save(true);
    if (batch.length === 0 || connection.token === null) return;
    sendBeacon(new URL("/v1/heartbeats", url).href, { beats: batch.map(({ wire }) => wire), token: connection.token });
  }

  /** Until every beat has its ack, or the time is over. */
  function waitForDrain(withinMs: number): Promise<void> {
    if (queue.size === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = clock.after(withinMs, resolve);
      drainWaiters.push(() => {
        cancel();
        resolve();
      });
    });
  }

  function toWatched(): [number, number][] {
    const queued = queue.beats
      .filter((beat) => beat.fileId === fileId && (beat.epoch ?? progress?.epoch) === progress?.epoch)
      .flatMap((beat) => beat.played);
    return toSeconds(unionOf([...fromSeconds(progress?.watched ?? []), ...queued, ...tracker.peek()]));
  }

  return {
    fileId,
    sessionId,
    ready,
    get state() {
      return connection.state;
    },
    get progress() {
      return progress;
    },
    get pending() {
      return queue.size;
    },
    get watched() {
      return toWatched();
    },
    report({ position, state = "playing", rate = 1 }) {
      if (isClosed || !Number.isFinite(position)) return;
      const positionMs = toMs(Math.max(0, position));
      const before = seen;
      // A position that does not move is as old as its first sight: a paused player never looks newer than one that
      // plays. Pressing play is a new sight of the old position.
      const isNew = before?.positionMs !== positionMs || (state === "playing" && before.state !== "playing");
      const moment = isNew ? toMoment(clock) : before.seen;
      seen = { positionMs, state, rate, seen: moment };
      // A stall is told by a rate of 0, and its end like a change of state.
      const isNews = state !== before?.state || (state === "playing" && rate !== before.rate);
      if (isNews && state !== "seeking" && !isCollecting) beat();
    },
    played: (from, to) => tracker.add(from, to),
    beat,
    async reset() {
      isHeld = true;
      const answer = await connection.call("progress:reset", { fileId });
      if (answer?.ok) {
        tracker.take();
        queue.forget(fileId);
        save();
        await readProgress();
      }
      isHeld = false;
      return (
        answer ?? { ok: false, error: { code: "unavailable", message: "The server cannot be reached at the moment." } }
      );
    },
    on: listeners.on,
    async close() {
      if (isClosed) return;
      isHeld = false;
      collectNews();
      isClosed = true;
      hooks.onClose?.();
      for (const cancel of [cancelBeat, cancelAdopt, cancelRead, stopFollowingPage]) cancel();
      if (connection.state === "online" || connection.state === "connecting") await waitForDrain(CLOSE_WITHIN_MS);
      delivery.stop();
      save(true);
      connection.close();
    },
  };
}

/** `crypto.randomUUID` is missing on pages served over plain HTTP. */
function createSessionId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
