import type { PlayerState } from "../protocol/wire.ts";
import { createMediaSource, HAVE_FUTURE_DATA, HAVE_METADATA } from "./media-source.ts";
import { createPlayedTracker } from "./played-tracker.ts";
import { createPlayerWith } from "./player.ts";
import type { Player, PlayerOptions, Report } from "./player-api.ts";

/*
 * Follows a media element. A timer samples the position, because `timeupdate` stops in background tabs and `play` also
 * fires for media that does not advance. The player sends nothing before the user has played or sought: to open a page
 * must not move the position that another device left. While the element has no media, or other media than the file's,
 * nothing is read from it, and the last position stands.
 */

const SAMPLE_MS = 250;
/** To drag the playhead is to end many seeks. Only the last one of a drag is worth a beat. */
const SEEK_SETTLE_MS = 150;
/** A media that plays for so long without a seek stays where it is, even if a stored place comes then. */
const MAX_PLAYED_BEFORE_RESUME_SECONDS = 60;

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
  const tracker = createPlayedTracker();
  const { player, fail, clock, signal } = createPlayerWith(options, { tracker, onBeforeBeat: look, onPlace: resume });
  const source = createMediaSource(media, () => {
    fail({
      code: "source_changed",
      message: "The media element plays other media than the file's. It does not count.",
    });
  });
  let isTouched = !media.paused;
  let hasSought = false;
  let isResuming = false;
  let last: Report | null = null;
  let cancelSeekBeat: (() => void) | null = null;

  function listen(events: string, listener: () => void, once = false): void {
    for (const event of events.split(" ")) media.addEventListener(event, listener, { signal, once });
  }

  function toState(): PlayerState {
    if (media.seeking) return "seeking";
    if (media.ended) return "ended";
    return media.paused ? "paused" : "playing";
  }

  /** A live stream is endless: no place in it can be resumed, and no part of it counts. */
  function isLive(): boolean {
    return media.duration === Number.POSITIVE_INFINITY;
  }

  /** @param isReport whether to tell the player, or only to track what plays */
  function look(isReport = true): void {
    if (!source.isOurs()) {
      loseMedia();
      return;
    }
    const atMs = clock.monotonicMs();
    const state = toState();
    const isStalled = state === "playing" && (isLive() || media.readyState < HAVE_FUTURE_DATA);
    const seen = { position: isLive() ? 0 : media.currentTime, rate: isStalled ? 0 : media.playbackRate };
    // The position jumps as soon as a seek begins, before the event comes.
    if (state === "seeking") tracker.cut(atMs);
    const rate = state === "seeking" ? 0 : seen.rate;
    tracker.sample({ ...seen, rate, atMs, advancing: !media.paused && state !== "ended" });
    if (!isTouched) return;
    last = { ...seen, state };
    if (isReport) player.report(last);
  }

  /** What was seen last stands. The media does not play any more. */
  function loseMedia(): void {
    tracker.cut(clock.monotonicMs());
    if (last && last.state !== "ended") player.report({ ...last, state: "paused" });
    last = null;
  }

  function sampleAgain(): void {
    if (signal.aborted) return;
    // A drag that may still go on is reported at its end.
    look(!cancelSeekBeat);
    clock.after(SAMPLE_MS, sampleAgain);
  }

  function resume(resumeAt: number): void {
    if (options.resume === false || hasSought || signal.aborted) return;
    const resumeAfter = (event: string) => listen(event, () => resume(resumeAt), true);
    if (media.readyState < HAVE_METADATA) {
      resumeAfter("loadedmetadata");
      return;
    }
    const { currentTime, duration } = media;
    if (!source.isOurs() || isLive() || resumeAt <= currentTime) return;
    if (currentTime > MAX_PLAYED_BEFORE_RESUME_SECONDS) return;
    // A seek past the end would end the media. Its header may be wrong, and the true length may come yet.
    if (resumeAt >= duration) resumeAfter("durationchange");
    else {
      isResuming = true;
      media.currentTime = resumeAt;
    }
  }

  function stopSeekBeat(): void {
    cancelSeekBeat?.();
    cancelSeekBeat = null;
  }

  listen("seeking", () => {
    stopSeekBeat();
    if (!isResuming && source.isOurs()) hasSought = isTouched = true;
    look(false);
  });
  listen("seeked", () => {
    look(false);
    if (!isResuming) {
      cancelSeekBeat = clock.after(SEEK_SETTLE_MS, () => {
        cancelSeekBeat = null;
        player.beat();
      });
    }
    isResuming = false;
  });
  listen("play", () => {
    isTouched = true;
    look();
  });
  listen("playing pause ended ratechange", () => look());
  // What comes next may be something else, and is reported only when it is played or sought again.
  listen("emptied", () => {
    loseMedia();
    stopSeekBeat();
    isResuming = isTouched = false;
  });
  sampleAgain();

  return player;
}
