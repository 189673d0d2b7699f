/*
 * Which connection publishes which stream, as far as this process knows. While the database is away, this tells the
 * first encoder of a stream from the second.
 */

/** Past this number, the holder that was silent for longest is forgotten. */
const MAX_HOLDERS = 10_000;
/** Holders stay in their place for so long after a report: to move one at each of a million reports costs more than exact order is worth. */
const REORDER_MS = 1000;

export interface Holder {
  server: string;
  connection: string;
  sessionId: string;
  /** By `performance.now()`. A holder that is silent for longer than its lease holds nothing. */
  heardAt: number;
  leaseMs: number;
}

/** A holder, named by its session or by its connection. */
export type Publisher = { sessionId: string } | { server: string; connection: string };

export class StreamHolders {
  /** By stream id; silent for longest first, to within REORDER_MS. */
  readonly #holders = new Map<string, Holder & { movedAt: number }>();
  /** Both names of each holder → stream id. */
  readonly #streamOf = new Map<string, string>();

  put(streamId: string, given: Pick<Holder, "server" | "connection" | "sessionId"> & { leaseSeconds: number }): void {
    const { server, connection, sessionId, leaseSeconds } = given;
    const before = this.#holders.get(streamId);
    if (before?.sessionId === sessionId && before.server === server && before.connection === connection) {
      before.leaseMs = leaseSeconds * 1000;
      this.#renew(streamId, before);
      return;
    }
    this.#forget(streamId);
    const now = performance.now();
    const holder = { server, connection, sessionId, heardAt: now, movedAt: now, leaseMs: leaseSeconds * 1000 };
    this.#holders.set(streamId, holder);
    for (const name of namesOf(holder)) this.#streamOf.set(name, streamId);
    const [oldest] = this.#holders.keys();
    if (this.#holders.size > MAX_HOLDERS && oldest !== undefined) this.#forget(oldest);
  }

  /** The publisher has reported: its lease begins anew. */
  hear(publisher: Publisher): void {
    const streamId = this.#streamOf.get(nameOf(publisher));
    const holder = streamId === undefined ? undefined : this.#holders.get(streamId);
    if (streamId !== undefined && holder !== undefined) this.#renew(streamId, holder);
  }

  /** The publisher is gone. */
  drop(publisher: Publisher): void {
    const streamId = this.#streamOf.get(nameOf(publisher));
    if (streamId !== undefined) this.#forget(streamId);
  }

  /** Who holds the stream now; null where this process knows of nobody. */
  find(streamId: string): Holder | null {
    const holder = this.#holders.get(streamId);
    return holder === undefined || performance.now() - holder.heardAt > holder.leaseMs ? null : holder;
  }

  #renew(streamId: string, holder: Holder & { movedAt: number }): void {
    holder.heardAt = performance.now();
    if (holder.heardAt - holder.movedAt < REORDER_MS) return;
    holder.movedAt = holder.heardAt;
    this.#holders.delete(streamId);
    this.#holders.set(streamId, holder);
  }

  #forget(streamId: string): void {
    const holder = this.#holders.get(streamId);
    if (holder === undefined) return;
    this.#holders.delete(streamId);
    for (const name of namesOf(holder)) if (this.#streamOf.get(name) === streamId) this.#streamOf.delete(name);
  }
}

function namesOf(holder: Holder): string[] {
  return [nameOf({ sessionId: holder.sessionId }), nameOf({ server: holder.server, connection: holder.connection })];
}

function nameOf(publisher: Publisher): string {
  return "sessionId" in publisher ? publisher.sessionId : `${publisher.server}\u0000${publisher.connection}`;
}
