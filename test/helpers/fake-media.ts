/** The parts of a media element that the SDK uses. It plays in real time. */
export class FakeMedia extends EventTarget {
  readonly HAVE_METADATA = 1;
  readonly HAVE_FUTURE_DATA = 3;
  readyState = 4;
  paused = true;
  ended = false;
  seeking = false;
  playbackRate = 1;
  duration = 60;
  currentSrc = "https://media/a.webm";
  #position = 0;
  #since = 0;

  get currentTime(): number {
    if (this.paused || this.seeking || this.readyState < this.HAVE_FUTURE_DATA) return this.#position;
    return this.#position + ((performance.now() - this.#since) / 1000) * this.playbackRate;
  }
  /** Ends its seek a little later, as a browser does. */
  set currentTime(position: number) {
    this.#position = position;
    this.seeking = true;
    this.dispatchEvent(new Event("seeking"));
    setTimeout(() => {
      this.seeking = false;
      this.#since = performance.now();
      this.dispatchEvent(new Event("seeked"));
    }, 20);
  }
  play(): void {
    this.#since = performance.now();
    this.paused = false;
    this.dispatchEvent(new Event("play"));
    this.dispatchEvent(new Event("playing"));
  }
  pause(): void {
    this.#position = this.currentTime;
    this.paused = true;
    this.dispatchEvent(new Event("pause"));
  }
}
