import type { PlayerState } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { systemClock } from "./clock.ts";
import { createPlayedTracker } from "./played-tracker.ts";
import { createPlayerWith, type Player, type PlayerOptions } from "./player.ts";

/*
 * Follows a media element. What was played is measured by a timer that reads the position: `timeupdate` stops in
 * background tabs and `play` fires for media that does not advance. Nothing is said before the user has played or
 * sought: opening a page must not move the position that another device left.
 */

const SAMPLE_MS = 250;
/** Dragging the playhead ends many seeks; the last of a drag is the one to tell. */
const SEEK_SETTLE_MS = 150;

export interface AttachOptions extends PlayerOptions {
  /** Whether to begin where the user left off; true by default. */
  resume?: boolean;
}

/**
 * Makes a media element report its progress, and resume where its user left off.
 * @example
 * const player = attachPlayer(document.querySelector("video"), { url, token, fileId: "lesson-1.mp4" });
 * player.on("progress", (progress) => console.log(progress.percentage));
 */
export function attachPlayer(media: HTMLMediaElement, options: AttachOptions): Player {
  const clock = options.clock ?? systemClock;
  const tracker = createPlayedTracker();
  const listening = new AbortController();
  let isTouched = !media.paused;
  let hasSought = false;
  let isResuming = false;
  let cancelSample = () => {};
  let cancelSeekBeat: (() => void) | null = null;

  function toState(): PlayerState {
    if (media.seeking) return "seeking";
    if (media.ended) return "ended";
    return media.paused ? "paused" : "playing";
  }

  function measure(): void {
    const { currentTime: position, playbackRate: rate } = media;
    // The position jumps as a seek begins, before its event comes.
    if (media.seeking) tracker.cut();
    else tracker.sample({ position, atMs: clock.monotonicMs(), rate, advancing: toState() === "playing" });
  }

  function measureAndTell(): void {
    measure();
    if (!isTouched) return;
    const state = toState();
    const isStalled = state === "playing" && media.readyState < media.HAVE_FUTURE_DATA;
    player.report({ position: media.currentTime, state, rate: isStalled ? 0 : media.playbackRate });
  }

  function sampleAgain(): void {
    // While a drag may still go on, its end is awaited.
    if (cancelSeekBeat) measure();
    else measureAndTell();
    cancelSample = clock.after(SAMPLE_MS, sampleAgain);
  }

  function resume(progress: FileProgress | null): void {
    if (options.resume === false || hasSought || !progress || progress.resumeAt <= 0) return;
    const seek = () => {
      if (hasSought) return;
      isResuming = true;
      media.currentTime = progress.resumeAt;
    };
    if (media.readyState >= media.HAVE_METADATA) seek();
    else media.addEventListener("loadedmetadata", seek, { once: true, signal: listening.signal });
  }

  function onSeeking(): void {
    tracker.cut();
    cancelSeekBeat?.();
    cancelSeekBeat = null;
    if (!isResuming) {
      hasSought = true;
      isTouched = true;
    }
  }

  function onSeeked(): void {
    tracker.cut();
    const wasOurs = isResuming;
    isResuming = false;
    measure();
    if (wasOurs) return;
    cancelSeekBeat = clock.after(SEEK_SETTLE_MS, () => {
      cancelSeekBeat = null;
      player.beat();
    });
  }

  function onPlay(): void {
    isTouched = true;
    measureAndTell();
  }

  function stop(): void {
    cancelSample();
    cancelSeekBeat?.();
    listening.abort();
  }

  const player = createPlayerWith(options, { tracker, onBeforeBeat: measureAndTell, onReady: resume, onClose: stop });
  const { signal } = listening;
  media.addEventListener("seeking", onSeeking, { signal });
  media.addEventListener("seeked", onSeeked, { signal });
  media.addEventListener("play", onPlay, { signal });
  for (const event of ["playing", "pause", "ended", "ratechange"])
    media.addEventListener(event, measureAndTell, { signal });
  for (const event of ["emptied", "loadstart"]) media.addEventListener(event, () => tracker.cut(), { signal });
  sampleAgain();

  return player;
}
