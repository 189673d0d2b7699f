import { fromSeconds, toMs, toSeconds, unionOf } from "../protocol/ranges.ts";
import type { FileProgress } from "../protocol/wire.ts";
import { createBeatKeeping } from "./beat-keeping.ts";
import { createBeatQueue, type Observation } from "./beat-queue.ts";
import { openLocalStorage } from "./beat-storage.ts";
import { type Clock, endWith, systemClock, toMoment } from "./clock.ts";
import { createConnection, toServerUrl } from "./connection.ts";
import { createDelivery } from "./delivery.ts";
import { createHeldProgress } from "./held-progress.ts";
import { createListeners } from "./listeners.ts";
import { followPage } from "./page-life.ts";
import { createPlayedTracker } from "./played-tracker.ts";
import type { Player, PlayerError, PlayerEvents, PlayerHooks, PlayerOptions } from "./player-api.ts";
import type { PlayerParts } from "./player-parts.ts";
import { createStoredPlace } from "./stored-place.ts";
import { toSubject } from "./token-source.ts";

export type { Player, PlayerOptions } from "./player-api.ts";

const DEFAULT_BEAT_MS = 10_000;
const CLOSE_WITHIN_MS = 2000;

type Sight = Omit<Observation, "epoch" | "fileId">;

/** Makes a player without a media element: tell it the position by `report`, and played ranges by `played`. */
export function createPlayer(options: PlayerOptions): Player {
  return createPlayerWith(options, { tracker: createPlayedTracker(), onPlace() {} }).player;
}

/** What the code that follows a media element gets beside the player. */
export interface PlayerInside {
  player: Player;
  /** Tells the application of an error. */
  fail(error: PlayerError): void;
  /** The player's clock. Its timers end with the player. */
  clock: Clock;
  /** The player observes nothing any more. */
  signal: AbortSignal;
}

export function createPlayerWith(options: PlayerOptions, hooks: PlayerHooks): PlayerInside {
  const { fileId, userId, token } = options;
  const { tracker } = hooks;
  const observing = new AbortController();
  const observed = observing.signal;
  const living = new AbortController();
  const { signal } = living;
  const clock = endWith(signal, options.clock ?? systemClock);
  const url = toServerUrl(options.url);
  const sessionId = createSessionId();
  const { on, emit } = createListeners<PlayerEvents>();
  const held = createHeldProgress(fileId, (progress, source) => emit("progress", progress, source));
  const queue = createBeatQueue({ clock }, { sessionId });
  const connection = createConnection({ clock }, { url, namespace: "/player", token, handshake: { acks: "brief" } });
  const parts: PlayerParts = { url, fileId, sessionId, clock, signal, connection, queue, held, emit };
  const fail = (error: PlayerError) => emit("error", error, null);

  let subject: string | null = null;
  let seen: Sight | null = null;
  /** The sight that the newest beat tells. */
  let told: Sight | null = null;
  let nextBeatMs = DEFAULT_BEAT_MS;
  /** No beats are made while a reset is under way. */
  let isOnHold = false;
  let isCollecting = false;
  let cancelBeat = () => {};

  const storage = options.storage === undefined ? openLocalStorage() : options.storage;
  const keeping = createBeatKeeping(storage, parts, deliver);
  const place = createStoredPlace(parts, hooks.onPlace, saveAndSend);
  const wake = createDelivery(parts, keeping.save, (ack, beat) => {
    if (ack.nextBeatMs !== nextBeatMs) {
      nextBeatMs = ack.nextBeatMs;
      scheduleBeat();
    }
    if ("progress" in ack) held.take(ack.progress, "acked");
    else if (!held.takeBrief(ack, beat)) void place.read();
    if (ack.cut) emit("cut", ack.cut, beat);
  });

  if (userId) keeping.setUser(userId, false);
  connection.on("token", (newest) => {
    const fresh = toSubject(newest);
    if (subject && fresh && fresh !== subject) {
      collect(true);
      end();
      fail({ code: "user_changed", message: "The new token belongs to another user. The player has stopped." });
      return;
    }
    subject ??= fresh;
    if (!userId && subject) keeping.setUser(subject, typeof token !== "string");
    void place.readEarly(newest);
  });
  connection.on("state", (state) => {
    emit("state", state);
    if (state === "online") deliver();
    place.onState(state);
  });
  connection.onEvent("progress", (fresh: FileProgress) => held.take(fresh, "remote"));
  followPage(
    {
      onHidden: () => collect(true),
      onClosing() {
        isOnHold = false;
        collect(true);
        sendLast();
      },
      onShown: () => keeping.setClosed(false),
    },
    observed,
  );

  function deliver(): void {
    void wake();
    place.readOthers();
  }

  function saveAndSend(): void {
    keeping.save();
    void wake();
  }

  /**
   * Moves what was seen and played into the queue, and sends it.
   * @param isLast nothing may come after it. It makes no beat that would repeat the newest one
   */
  function collect(isLast = false): void {
    isCollecting = true;
    hooks.onBeforeBeat?.();
    isCollecting = false;
    if (!seen || isOnHold || observed.aborted) return;
    const isTold = seen.positionMs === told?.positionMs && seen.state === told.state && tracker.peek().length === 0;
    if (isLast && isTold) return;
    told = seen;
    queue.push({ ...seen, fileId, epoch: held.current?.epoch, unplaced: !place.isKnown }, tracker.take(isLast));
    saveAndSend();
  }

  function scheduleBeat(): void {
    cancelBeat();
    cancelBeat = clock.after(nextBeatMs, beat);
  }

  function beat(): void {
    if (observed.aborted) return;
    scheduleBeat();
    collect();
  }

  /**
   * Nobody waits for the answer, so the beats are kept, and the next page sends them once more. A string goes as
   * text/plain, which needs no preflight to another origin.
   */
  function sendLast(): void {
    const beats = queue.takeBatch().map(({ wire }) => wire);
    const body = { beats, token: connection.token };
    keeping.setClosed(true);
    if (beats.length > 0 && body.token) navigator.sendBeacon(`${url}/v1/heartbeats`, JSON.stringify(body));
  }

  function end(): void {
    observing.abort();
    living.abort();
    keeping.setClosed(true);
    connection.close();
  }

  const player: Player = {
    fileId,
    sessionId,
    ready: place.ready,
    on,
    beat,
    played: tracker.add,
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
      const { epoch, watched = [] } = held.current ?? {};
      const queued = queue.beats
        .filter((beat) => beat.fileId === fileId && (beat.epoch ?? epoch) === epoch)
        .flatMap((beat) => beat.played);
      return toSeconds(unionOf([...fromSeconds(watched), ...queued, ...tracker.peek()]));
    },
    report({ position, state = "playing", rate = 1 }) {
      if (observed.aborted || !Number.isFinite(position)) return;
      const positionMs = toMs(Math.max(0, position));
      const before = seen;
      const isPlaying = state === "playing";
      // A position that does not move is as old as its first sight, so a paused player never looks newer than a playing
      // one. To press play is a new sight of the old position.
      const isMoved = before?.positionMs !== positionMs || (isPlaying && before.state !== state);
      seen = { positionMs, state, rate, seen: isMoved ? toMoment(clock) : before.seen };
      // The rate is 0 during a stall: its begin and its end count as changes of state.
      const isNews = state !== before?.state || (isPlaying && rate !== before.rate);
      if (isNews && state !== "seeking" && !isCollecting) beat();
    },
    async reset() {
      isOnHold = true;
      const answer = await connection.call("progress:reset", { fileId });
      if (answer?.ok) {
        tracker.take(true);
        queue.forget(fileId);
        keeping.save();
        await place.read();
      }
      isOnHold = false;
      return answer ?? { ok: false, error: { code: "unavailable", message: "The server cannot be reached now." } };
    },
    async close() {
      if (observed.aborted) return;
      isOnHold = false;
      collect(true);
      observing.abort();
      if (connection.state === "online" || connection.state === "connecting")
        await place.waitUntil(() => queue.size === 0, CLOSE_WITHIN_MS);
      end();
    },
  };
  return { player, fail, clock, signal: observed };
}

/** 128 random bits. Pages served over plain HTTP have no `crypto.randomUUID`. */
function createSessionId(): string {
  return Array.from(crypto.getRandomValues(new Uint32Array(4)), (bits) => bits.toString(36)).join("-");
}
