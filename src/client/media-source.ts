/** From here on the element knows its duration and position. As `HTMLMediaElement.HAVE_METADATA`. */
export const HAVE_METADATA = 1;
/** From here on it can play on. As `HTMLMediaElement.HAVE_FUTURE_DATA`. */
export const HAVE_FUTURE_DATA = 3;
/** Two encodings of one file differ in length by less than this. */
const SAME_LENGTH_SECONDS = 0.5;
/** A page that changes the quality goes on this close to where it was. */
const SAME_PLACE_SECONDS = 1;

/** Tells whether a media element holds the media of a player's file. */
export interface MediaSource {
  /** Looks at the element. False while it has no media, or other media: then nothing that it says is about the file. */
  isOurs(): boolean;
}

/**
 * The first media that the element has is the file's. Another address is the same file in another quality if it is as
 * long and goes on at the same place. Everything else is a source that nobody announced, such as an advertisement.
 * @param onOther called once for every such source
 */
export function createMediaSource(media: HTMLMediaElement, onOther: () => void): MediaSource {
  let known: unknown = null;
  let refused: unknown = null;
  let length = 0;
  let place = 0;

  return {
    isOurs() {
      // The element forgets its old media at once, long before it fires `emptied`.
      if (media.readyState < HAVE_METADATA) return false;
      const { currentTime, duration } = media;
      const source = media.srcObject ?? media.currentSrc;
      if (known !== null && source !== known) {
        // Two live streams are endless: their lengths differ by NaN.
        const isAsLong = !(Math.abs(duration - length) > SAME_LENGTH_SECONDS);
        if (!isAsLong || Math.abs(currentTime - place) > SAME_PLACE_SECONDS) {
          const isPlaying = !media.paused && !media.seeking && media.readyState >= HAVE_FUTURE_DATA;
          // A media of the same length may still be on its way to the old place.
          if (source !== refused && (!isAsLong || isPlaying)) {
            refused = source;
            onOther();
          }
          return false;
        }
      }
      known = source;
      refused = null;
      length = duration;
      place = currentTime;
      return true;
    },
  };
}
