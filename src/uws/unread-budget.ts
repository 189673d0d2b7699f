/**
 * Bounds the memory of long bodies that nobody reads yet, because their callers are not known. uWebSockets.js reads up to
 * 512 KB of a socket at once, so more of a body may come with the headers than anybody has asked for.
 */
export class UnreadBudget {
  #leftBytes: number;

  constructor(bytes: number) {
    this.#leftBytes = bytes;
  }

  /** Takes so many bytes. @returns false, and takes none, where fewer are left */
  take(bytes: number): boolean {
    if (bytes > this.#leftBytes) return false;
    this.#leftBytes -= bytes;
    return true;
  }

  giveBack(bytes: number): void {
    this.#leftBytes += bytes;
  }
}
