/** How many places are given in a turn. */
const PER_TURN = 16;

/**
 * Divides work among turns of the event loop, so that however much has come, sockets are served in between. Places are
 * given in the order in which they were asked for.
 */
export class TurnQueue {
  #waiting: (() => void)[] = [];

  /** Resolves in a later turn. */
  next(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#waiting.push(resolve) === 1) setImmediate(() => this.#give());
    });
  }

  #give(): void {
    const rest = this.#waiting.splice(PER_TURN);
    for (const resolve of this.#waiting) resolve();
    this.#waiting = rest;
    if (rest.length > 0) setImmediate(() => this.#give());
  }
}
