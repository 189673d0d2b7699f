import { channels, type PresenceKind, splitPresenceChannel } from "./channels.ts";

/*
 * Which viewers are wanted: those that this process's rooms show, and those that other processes asked for. Every
 * heartbeat asks by ids, so that no channel's name is made for viewers that no other process wants.
 */

interface Demand {
  /** How often this process wants it. */
  here: number;
  /** Until when another process wants it, by the monotonic clock. */
  othersUntil: number;
}

export class PresenceDemand {
  readonly #byKind: Record<PresenceKind, Map<string, Demand>> = { course: new Map(), user: new Map() };

  isWantedByOthers(kind: PresenceKind, id: string): boolean {
    const demands = this.#byKind[kind];
    if (demands.size === 0) return false;
    const demand = demands.get(id);
    return demand !== undefined && demand.othersUntil >= performance.now();
  }

  /** @returns whether this process did not want the channel before */
  want(channel: string): boolean {
    const demand = this.#open(channel);
    demand.here += 1;
    return demand.here === 1;
  }

  /** Ends one `want`. */
  release(channel: string): void {
    const [kind, id] = splitPresenceChannel(channel);
    const demand = this.#byKind[kind].get(id);
    if (demand === undefined || demand.here === 0) return;
    demand.here -= 1;
    this.#forgetUnwanted(kind, id, demand);
  }

  othersWant(channel: string, until: number): void {
    this.#open(channel).othersUntil = until;
  }

  /** Channels that this process wants. */
  ofHere(): string[] {
    return this.#channels(({ here }) => here > 0);
  }

  /** Channels that other processes want. */
  ofOthers(): string[] {
    const now = performance.now();
    return this.#channels(({ othersUntil }) => othersUntil >= now);
  }

  /** Forgets channels that other processes have not asked for again in time. */
  forgetExpired(): void {
    for (const kind of ["course", "user"] as const)
      for (const [id, demand] of this.#byKind[kind]) this.#forgetUnwanted(kind, id, demand);
  }

  #forgetUnwanted(kind: PresenceKind, id: string, { here, othersUntil }: Demand): void {
    if (here === 0 && othersUntil < performance.now()) this.#byKind[kind].delete(id);
  }

  #channels(matches: (demand: Demand) => boolean): string[] {
    return (["course", "user"] as const).flatMap((kind) =>
      [...this.#byKind[kind]].filter(([, demand]) => matches(demand)).map(([id]) => channels[kind](id)),
    );
  }

  #open(channel: string): Demand {
    const [kind, id] = splitPresenceChannel(channel);
    const demand = this.#byKind[kind].get(id) ?? { here: 0, othersUntil: Number.NEGATIVE_INFINITY };
    this.#byKind[kind].set(id, demand);
    return demand;
  }
}
