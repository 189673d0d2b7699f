import type { ChangedKey, ChangedStream } from "../bus/bus.ts";

/** Past this length the list is cleared of keys that stand in it twice: the database may be away for long. */
const COMPACT_LENGTH = 10_000;

export interface TakenChanges {
  readonly keys: readonly ChangedKey[];
  readonly streams: readonly ChangedStream[];
}

/** Keys of rows that changed and were not read since, oldest first. A row may stand in it more than once. */
export class Changes {
  #keys: ChangedKey[] = [];
  #streams: ChangedStream[] = [];
  #compactLength = COMPACT_LENGTH;

  get isEmpty(): boolean {
    return this.#keys.length === 0 && this.#streams.length === 0;
  }

  add(key: ChangedKey): void {
    this.#keys.push(key);
    this.#compact();
  }

  addStream(key: ChangedStream): void {
    this.#streams.push(key);
    this.#compact();
  }

  /** Empties the list. */
  take(): TakenChanges {
    const taken = { keys: this.#keys, streams: this.#streams };
    this.#keys = [];
    this.#streams = [];
    return taken;
  }

  /** Puts back keys that could not be read, before those that came since. */
  putBack({ keys, streams }: TakenChanges): void {
    this.#keys = [...keys, ...this.#keys];
    this.#streams = [...streams, ...this.#streams];
    this.#compact();
  }

  /** Of a row's keys the newest is kept: it has the highest version. */
  #compact(): void {
    if (this.#keys.length + this.#streams.length < this.#compactLength) return;
    this.#keys = [...new Map(this.#keys.map((key) => [`${key.userId}\u0000${key.fileId}`, key])).values()];
    this.#streams = [...new Map(this.#streams.map((key) => [key.streamId, key])).values()];
    this.#compactLength = Math.max(COMPACT_LENGTH, 2 * (this.#keys.length + this.#streams.length));
  }
}
