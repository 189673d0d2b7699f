/*
 * Whose viewers are wanted: by rooms of this process, and by other processes for a while. Asked at every heartbeat, by
 * ids, so that no channel's name is made where nobody wants to know.
 */

/** What channels of viewers there are: of a course, of a user. */
export type PresenceKind = "course" | "user";

interface Demand {
  /** How often it is wanted here. */
  here: number;
  /** Until when another process wants it. */
  othersUntil: number;
}

export class PresenceDemand {
  readonly #byKind: Record<PresenceKind, Map<string, Demand>> = { course: new Map(), user: new Map() };

  isWanted(kind: PresenceKind, id: string): boolean {
    const demands = this.#byKind[kind];
    if (demands.size === 0) return false;
    const demand = demands.get(id);
    return demand !== undefined && (demand.here > 0 || demand.othersUntil >= performance.now());
  }

  isWantedByOthers(channel: string): boolean {
    return (this.#find(channel)?.othersUntil ?? Number.NEGATIVE_INFINITY) >= performance.now();
  }

  /** @returns whether it was not wanted here before */
  want(channel: string): boolean {
    const demand = this.#open(channel);
    demand.here += 1;
    return demand.here === 1;
  }

  wantNoMore(channel: string): void {
    const demand = this.#find(channel);
    if (demand === undefined) return;
    demand.here -= 1;
    this.#forgetUnwanted(channel, demand);
  }

  othersWant(channel: string, until: number): void {
    this.#open(channel).othersUntil = until;
  }

  /** Channels that are wanted here. */
  ofHere(): string[] {
    return this.#channels(({ here }) => here > 0);
  }

  ofOthers(): string[] {
    const now = performance.now();
    return this.#channels(({ othersUntil }) => othersUntil >= now);
  }

  /** Forgets what others have not said again in time. */
  forgetExpired(): void {
    for (const channel of this.#channels(() => true)) {
      const demand = this.#find(channel);
      if (demand !== undefined) this.#forgetUnwanted(channel, demand);
    }
  }

  #forgetUnwanted(channel: string, { here, othersUntil }: Demand): void {
    if (here > 0 || othersUntil >= performance.now()) return;
    const [kind, id] = split(channel);
    this.#byKind[kind].delete(id);
  }

  #channels(matches: (demand: Demand) => boolean): string[] {
    return Object.entries(this.#byKind).flatMap(([kind, demands]) =>
      [...demands].filter(([, demand]) => matches(demand)).map(([id]) => `${kind}:${id}`),
    );
  }

  #find(channel: string): Demand | undefined {
    const [kind, id] = split(channel);
    return this.#byKind[kind].get(id);
  }

  #open(channel: string): Demand {
    const [kind, id] = split(channel);
    const demand = this.#byKind[kind].get(id) ?? { here: 0, othersUntil: Number.NEGATIVE_INFINITY };
    this.#byKind[kind].set(id, demand);
    return demand;
  }
}

/** Viewers are told in channels of courses and of users; nobody is in any other. */
function split(channel: string): [kind: PresenceKind, id: string] {
  const at = channel.indexOf(":");
  return [channel.startsWith("course:") ? "course" : "user", at < 0 ? channel : channel.slice(at + 1)];
}
