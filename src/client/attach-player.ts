import type { PlayerState } from "../protocol/heartbeat.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { systemClock } from "./clock.ts";
import { createPlayedTracker } from "./played-tracker.ts";
import { createPlayerWith, type Player, type PlayerOptions } from "./player.ts";

/*
 * Follows a media element. A timer samples the position, because `timeupdate` stops in background tabs and `play` also
 * fires for media that does not advance. The player sends nothing before the user has played or sought: to open a page
 * must not move the position that another device left.
 */

const SAMPLE_MS = 250;
/** To drag the playhead is to end many seeks. Only the last one of a drag is worth a beat. */
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
  const { signal } = listening;
  let isTouched = !media.paused;
  let hasSought = false;
  let isResuming = false;
  let cancelSample = () => {};
  let cancelSeekBeat: (() => void) | null = null;

  function listen(events: string, listener: () => void): void {
    for (const event of events.split(" ")) media.addEventListener(event, listener, { signal });
  }

  function toState(): PlayerState {
    if (media.seeking) return "seeking";
    if (media.ended) return "ended";
    return media.paused ? "paused" : "playing";
  }

  function measure(): void {
    const { currentTime: position, playbackRate: rate } = media;
    // The position jumps as soon as a seek begins, before the event comes.
    if (media.seeking) tracker.cut();
    else tracker.sample({ position, atMs: clock.monotonicMs(), rate, advancing: toState() === "playing" });
  }

  function measureAndReport(): void {
    measure();
    if (!isTouched) return;
    const state = toState();
    const isStalled = state === "playing" && media.readyState < media.HAVE_FUTURE_DATA;
    player.report({ position: media.currentTime, state, rate: isStalled ? 0 : media.playbackRate });
  }

  function sampleAgain(): void {
    // A drag that may still go on is reported at its end.
    if (cancelSeekBeat) measure();
    else measureAndReport();
    cancelSample = clock.after(SAMPLE_MS, sampleAgain);
  }

  function resume(progress: FileProgress | null): void {
    if (options.resume === false || !progress || progress.resumeAt <= 0) return;
    const seek = () => {
      if (hasSought) return;
      isResuming = true;
      media.currentTime = progress.resumeAt;
    };
    if (media.readyState >= media.HAVE_METADATA) seek();
    else media.addEventListener("loadedmetadata", seek, { once: true, signal });
  }

  function stopSeekBeat(): void {
    cancelSeekBeat?.();
    cancelSeekBeat = null;
  }

  function onSeeking(): void {
    tracker.cut();
    stopSeekBeat();
    if (!isResuming) {
      hasSought = true;
      isTouched = true;
    }
  }

  function onSeeked(): void {
    tracker.cut();
    const wasResuming = isResuming;
    isResuming = false;
    measure();
    if (wasResuming) return;
    cancelSeekBeat = clock.after(SEEK_SETTLE_MS, () => {
      cancelSeekBeat = null;
      player.beat();
    });
  }

  function onPlay(): void {
    isTouched = true;
    measureAndReport();
  }

  function stop(): void {
    cancelSample();
    stopSeekBeat();
    listening.abort();
  }

  const player = createPlayerWith(options, { tracker, onBeforeBeat: measureAndReport, onReady: resume, onClose: stop });
  listen("seeking", onSeeking);
  listen("seeked", onSeeked);
  listen("play", onPlay);
  listen("playing pause ended ratechange", measureAndReport);
  listen("emptied loadstart", tracker.cut);
  sampleAgain();

  return player;
}
