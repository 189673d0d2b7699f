import type { WireError } from "../errors.ts";
import type { Heartbeat, PlayerState } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { fromSeconds, toMs, toSeconds, unionOf } from "../protocol/ranges.ts";
import { createBeatQueue, type Observation } from "./beat-queue.ts";
import { type BeatShelf, type BeatStorage, createBeatShelf, openLocalStorage } from "./beat-storage.ts";
import { type Clock, systemClock, toMoment } from "./clock.ts";
import { type ConnectionState, createConnection, toServerUrl } from "./connection.ts";
import { createDelivery } from "./delivery.ts";
import { createHeldProgress, type ProgressSource } from "./held-progress.ts";
import { createListeners } from "./listeners.ts";
import { followPage, sendBeacon } from "./page-life.ts";
import { createPlayedTracker, type PlayedTracker } from "./played-tracker.ts";
import { type TokenSource, toSubject } from "./token-source.ts";

const DEFAULT_BEAT_MS = 10_000;
/** The first beat waits at most this long for the stored progress, which says where to resume and which epoch it is. */
const FIRST_READ_MS = 5000;
const READ_RETRY_MS = 2000;
const ADOPT_EVERY_MS = 60_000;
const CLOSE_WITHIN_MS = 2000;

export interface PlayerOptions {
  /** The server; by default, in a browser, where the page came from. */
  url?: string;
  /** A token, or a function that gets one: the SDK calls it at every connect and before a token ends. */
  token: TokenSource;
  fileId: string;
  /** Where unacked beats outlive a reload: by default localStorage in browsers, nowhere in Node. `null` switches it off. */
  storage?: BeatStorage | null;
  /** The user whose beats are kept. Needed only where the token is no JWT with a `sub`. */
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
  /** The newest progress of the player's file, always whole, and how the player learned of it. */
  progress: [FileProgress, ProgressSource];
  /** The server refused a beat for good, or could not be asked for the progress. A refused beat is dropped. */
  error: [WireError, Heartbeat | null];
};

export interface Player {
  readonly fileId: string;
  readonly sessionId: string;
  readonly state: ConnectionState;
  /** The newest known progress; null until the first one came. */
  readonly progress: FileProgress | null;
  /** How many beats the server has not yet made durable. */
  readonly pending: number;
  /** The watched ranges in seconds: those that the server holds, and those that were played here and are on their way. */
  readonly watched: [from: number, to: number][];
  /** Resolves with the stored progress, or with null where none came within five seconds: then play on without it. */
  readonly ready: Promise<FileProgress | null>;
  /** Says where the media is. Call it as often as you like: a change of state is sent at once, the rest at the server's pace. */
  report(report: Report): void;
  /** Adds a range, in seconds, that really played. */
  played(from: number, to: number): void;
  /** Sends a beat now. */
  beat(): void;
  /** Resets the file's progress, on the server and here. */
  reset(): Promise<{ ok: true } | { ok: false; error: WireError }>;
  /** @returns removes the listener */
  on<Name extends keyof PlayerEvents>(name: Name, listener: (...args: PlayerEvents[Name]) => void): () => void;
  /** Sends what is left, waits two seconds at most for the acks, and ends. Unacked beats stay in storage. */
  close(): Promise<void>;
}

/** The parts of a player that follow a media element. */
export interface PlayerHooks {
  tracker: PlayedTracker;
  /** Called before every beat, so that the hook can report the latest position. */
  onBeforeBeat?: () => void;
  /** Called before the first beat, with the stored progress if it came in time. */
  onReady?: (progress: FileProgress | null) => void;
  onClose?: () => void;
}

type Sight = Omit<Observation, "epoch" | "fileId">;

/** Makes a player without a media element: tell it the position by `report`, and played ranges by `played`. */
export function createPlayer(options: PlayerOptions): Player {
  return createPlayerWith(options, { tracker: createPlayedTracker() });
}

export function createPlayerWith(options: PlayerOptions, hooks: PlayerHooks): Player {
  const { fileId, clock = systemClock } = options;
  const url = toServerUrl(options.url);
  const sessionId = createSessionId();
  const storage = options.storage === undefined ? openLocalStorage() : options.storage;
  const listeners = createListeners<PlayerEvents>();
  const held = createHeldProgress(fileId, (progress, source) => listeners.emit("progress", progress, source));
  const queue = createBeatQueue({ clock }, { sessionId });
  const { tracker } = hooks;

  let shelf: BeatShelf | null = null;
  let seen: Sight | null = null;
  /** The sight that the newest beat tells. */
  let told: Sight | null = null;
  let nextBeatMs = DEFAULT_BEAT_MS;
  /** No beats are made: the stored progress is not known yet, or a reset is under way. */
  let isOnHold = true;
  let isCollecting = false;
  let isClosed = false;
  let cancelBeat = () => {};
  let cancelAdopt = () => {};
  let cancelRead = () => {};
  let drainWaiters: (() => void)[] = [];

  const connection = createConnection(
    { clock },
    { url, namespace: "/player", token: options.token, handshake: { acks: "brief" } },
  );
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
    onAck(ack, beat) {
      if (ack.nextBeatMs !== nextBeatMs) {
        nextBeatMs = ack.nextBeatMs;
        scheduleBeat();
      }
      if ("progress" in ack) held.take(ack.progress, "acked");
      else if (!held.takeBrief(ack, beat)) void readProgress();
    },
    onDropped: (error, beat) => listeners.emit("error", error, beat),
  });

  let settleReady = () => {};
  const ready = new Promise<FileProgress | null>((resolve) => {
    const cancelTimeout = clock.after(FIRST_READ_MS, () => settleReady());
    settleReady = () => {
      settleReady = () => {};
      cancelTimeout();
      isOnHold = false;
      resolve(held.current);
      hooks.onReady?.(held.current);
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
  connection.onEvent("progress", (fresh: FileProgress) => held.take(fresh, "remote"));

  const stopFollowingPage = followPage({
    onHidden: () => collect(true),
    onClosing() {
      isOnHold = false;
      collect(true);
      sendLast();
    },
    onRestored: () => save(),
  });

  /** Waits for the queue first, so that the answer counts in what an earlier page left behind. */
  async function readProgress(): Promise<void> {
    cancelRead();
    await waitForDrain(READ_RETRY_MS);
    const question = { fileId, minVersion: held.newestVersion };
    const answer = await connection.call<{ progress: FileProgress }>("progress:get", question);
    if (isClosed) return;
    if (answer?.ok) {
      held.take(answer.progress, "read");
      return settleReady();
    }
    if (answer) listeners.emit("error", answer.error, null);
    const isHopeless = answer && answer.error.code !== "unavailable" && answer.error.retryAfterMs === undefined;
    if (isHopeless) settleReady();
    else if (connection.state === "online")
      cancelRead = clock.after(answer?.error.retryAfterMs ?? READ_RETRY_MS, () => void readProgress());
  }

  /**
   * Moves what was seen and played into the queue, and sends it.
   * @param onlyNews makes no beat that would repeat the newest one
   */
  function collect(onlyNews = false): void {
    isCollecting = true;
    hooks.onBeforeBeat?.();
    isCollecting = false;
    if (!seen || isOnHold) return;
    const isTold = seen.positionMs === told?.positionMs && seen.state === told.state && tracker.peek().length === 0;
    if (onlyNews && isTold) return;
    told = seen;
    queue.push({ ...seen, fileId, epoch: held.current?.epoch }, tracker.take());
    save();
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
  }

  function save(closed = false): void {
    try {
      shelf?.save(queue.beats, { closed });
    } catch {
      // The storage is full. The beats are still in memory, and go out from there.
    }
  }

  /** Takes over the beats of players that are gone, now and every minute. */
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

  /** Nobody reads the answer to a beacon, so its beats are kept, and the next page sends them once more. */
  function sendLast(): void {
    const batch = queue.takeBatch();
    save(true);
    if (batch.length === 0 || connection.token === null) return;
    sendBeacon(new URL("/v1/heartbeats", url).href, { beats: batch.map(({ wire }) => wire), token: connection.token });
  }

  /** Resolves when every beat has its ack, or after `withinMs`. */
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
    const { epoch, watched = [] } = held.current ?? {};
    const queued = queue.beats
      .filter((beat) => beat.fileId === fileId && (beat.epoch ?? epoch) === epoch)
      .flatMap((beat) => beat.played);
    return toSeconds(unionOf([...fromSeconds(watched), ...queued, ...tracker.peek()]));
  }

  return {
    fileId,
    sessionId,
    ready,
    get state() {
      return connection.state;
    },
    get progress() {
      return held.current;
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
      // A position that does not move is as old as its first sight, so a paused player never looks newer than a playing
      // one. To press play is a new sight of the old position.
      const isMoved = before?.positionMs !== positionMs || (state === "playing" && before.state !== "playing");
      seen = { positionMs, state, rate, seen: isMoved ? toMoment(clock) : before.seen };
      // The rate is 0 during a stall: its begin and its end count as changes of state.
      const isNews = state !== before?.state || (state === "playing" && rate !== before.rate);
      if (isNews && state !== "seeking" && !isCollecting) beat();
    },
    played: (from, to) => tracker.add(from, to),
    beat,
    async reset() {
      isOnHold = true;
      const answer = await connection.call("progress:reset", { fileId });
      if (answer?.ok) {
        tracker.take();
        queue.forget(fileId);
        save();
        await readProgress();
      }
      isOnHold = false;
      return (
        answer ?? { ok: false, error: { code: "unavailable", message: "The server cannot be reached at the moment." } }
      );
    },
    on: listeners.on,
    async close() {
      if (isClosed) return;
      isOnHold = false;
      collect(true);
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

/** 128 random bits in hexadecimal. Pages served over plain HTTP have no `crypto.randomUUID`. */
function createSessionId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
