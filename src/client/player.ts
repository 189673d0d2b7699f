import type { FileProgress } from "../protocol/progress.ts";
import { fromSeconds, toMs, toSeconds, unionOf } from "../protocol/ranges.ts";
import { createBeatKeeping } from "./beat-keeping.ts";
import { createBeatQueue, type Observation } from "./beat-queue.ts";
import { openLocalStorage } from "./beat-storage.ts";
import { systemClock, toMoment } from "./clock.ts";
import { createConnection, toServerUrl } from "./connection.ts";
import { createDelivery } from "./delivery.ts";
import { createHeldProgress } from "./held-progress.ts";
import { createListeners } from "./listeners.ts";
import { followPage, sendBeacon } from "./page-life.ts";
import { createPlayedTracker } from "./played-tracker.ts";
import type { Player, PlayerError, PlayerEvents, PlayerHooks, PlayerOptions } from "./player-api.ts";
import { createStoredPlace } from "./stored-place.ts";
import { toSubject } from "./token-source.ts";

export type { Player, PlayerOptions } from "./player-api.ts";

const DEFAULT_BEAT_MS = 10_000;
const CLOSE_WITHIN_MS = 2000;

type Sight = Omit<Observation, "epoch" | "fileId">;

/** Makes a player without a media element: tell it the position by `report`, and played ranges by `played`. */
export function createPlayer(options: PlayerOptions): Player {
  return createPlayerWith(options, { tracker: createPlayedTracker() }).player;
}

/** @returns the player, and a function that tells the application of an error that the hooks found */
export function createPlayerWith(
  options: PlayerOptions,
  hooks: PlayerHooks,
): { player: Player; fail: (error: PlayerError) => void } {
  const { fileId, clock = systemClock } = options;
  const url = toServerUrl(options.url);
  const sessionId = createSessionId();
  const storage = options.storage === undefined ? openLocalStorage() : options.storage;
  const listeners = createListeners<PlayerEvents>();
  const fail = (error: PlayerError) => listeners.emit("error", error, null);
  const held = createHeldProgress(fileId, (progress, source) => listeners.emit("progress", progress, source));
  const queue = createBeatQueue({ clock }, { sessionId });
  const { tracker } = hooks;

  let subject: string | null = null;
  let seen: Sight | null = null;
  /** The sight that the newest beat tells. */
  let told: Sight | null = null;
  let nextBeatMs = DEFAULT_BEAT_MS;
  /** No beats are made while a reset is under way. */
  let isOnHold = false;
  let isCollecting = false;
  /** No more beats are made. Those that are there may still go out. */
  let isClosed = false;
  let cancelBeat = () => {};

  const connection = createConnection(
    { clock },
    { url, namespace: "/player", token: options.token, handshake: { acks: "brief" } },
  );
  const keeping = createBeatKeeping({ storage, clock, queue, onAdopted: deliver }, { server: url, sessionId });
  const delivery = createDelivery({
    queue,
    clock,
    call: connection.call,
    isOnline: () => connection.state === "online",
    onChange() {
      keeping.save();
      place.onQueueChanged();
    },
    onAck(ack, beat) {
      if (ack.nextBeatMs !== nextBeatMs) {
        nextBeatMs = ack.nextBeatMs;
        scheduleBeat();
      }
      if ("progress" in ack) held.take(ack.progress, "acked");
      else if (!held.takeBrief(ack, beat)) void place.read();
      if (ack.cut) listeners.emit("cut", ack.cut, beat);
    },
    onDropped: (error, beat) => listeners.emit("error", error, beat),
  });
  const place = createStoredPlace(
    { clock, connection, queue, held },
    { url, fileId, sessionId },
    {
      onPlace: hooks.onPlace ?? (() => {}),
      onError: fail,
      onKnown() {
        keeping.save();
        delivery.wake();
      },
    },
  );

  if (options.userId) keeping.setUser(options.userId, false);
  connection.onToken((token) => {
    const fresh = toSubject(token);
    if (subject !== null && fresh !== null && fresh !== subject) {
      collect(true);
      end();
      fail({ code: "user_changed", message: "The new token belongs to another user, so this player has stopped." });
      return;
    }
    subject ??= fresh;
    const userId = options.userId ?? subject;
    if (userId) keeping.setUser(userId, !options.userId && typeof options.token !== "string");
    void place.readEarly(token);
  });
  connection.onState((state) => {
    listeners.emit("state", state);
    if (state === "online") deliver();
    place.onState(state);
  });
  connection.onEvent("progress", (fresh: FileProgress) => held.take(fresh, "remote"));

  const stopFollowingPage = followPage({
    onHidden: () => collect(true),
    onClosing() {
      isOnHold = false;
      collect(true);
      sendLast();
    },
    onRestored: () => keeping.setClosed(false),
  });

  function deliver(): void {
    delivery.wake();
    place.readOthers();
  }

  /**
   * Moves what was seen and played into the queue, and sends it.
   * @param isLast nothing may come after it. It makes no beat that would repeat the newest one
   */
  function collect(isLast = false): void {
    isCollecting = true;
    hooks.onBeforeBeat?.();
    isCollecting = false;
    if (!seen || isOnHold || isClosed) return;
    const isTold = seen.positionMs === told?.positionMs && seen.state === told.state && tracker.peek().length === 0;
    if (isLast && isTold) return;
    told = seen;
    const observation = { ...seen, fileId, epoch: held.current?.epoch, unplaced: !place.isKnown };
    queue.push(observation, tracker.take(isLast));
    keeping.save();
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

  /** Nobody reads the answer to a beacon, so its beats are kept, and the next page sends them once more. */
  function sendLast(): void {
    const batch = queue.takeBatch();
    keeping.setClosed(true);
    if (batch.length === 0 || connection.token === null) return;
    sendBeacon(`${url}/v1/heartbeats`, { beats: batch.map(({ wire }) => wire), token: connection.token });
  }

  function stopObserving(): void {
    isClosed = true;
    hooks.onClose?.();
    cancelBeat();
    stopFollowingPage();
  }

  function end(): void {
    stopObserving();
    delivery.stop();
    place.stop();
    keeping.stop();
    keeping.setClosed(true);
    connection.close();
  }

  function toWatched(): [number, number][] {
    const { epoch, watched = [] } = held.current ?? {};
    const queued = queue.beats
      .filter((beat) => beat.fileId === fileId && (beat.epoch ?? epoch) === epoch)
      .flatMap((beat) => beat.played);
    return toSeconds(unionOf([...fromSeconds(watched), ...queued, ...tracker.peek()]));
  }

  const player: Player = {
    fileId,
    sessionId,
    ready: place.ready,
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
        tracker.take(true);
        queue.forget(fileId);
        keeping.save();
        await place.read();
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
      stopObserving();
      if (connection.state === "online" || connection.state === "connecting")
        await place.waitUntil(() => queue.size === 0, CLOSE_WITHIN_MS);
      end();
    },
  };
  return { player, fail };
}

/** 128 random bits in hexadecimal. Pages served over plain HTTP have no `crypto.randomUUID`. */
function createSessionId(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
