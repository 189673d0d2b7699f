import type { Claim } from "./claim.ts";
import type { LastBoot } from "./claim-lock-sql.ts";

/*
 * Boots of media servers that cannot tell their boots apart (nginx-rtmp). Such a server numbers its connections from 1
 * after each start and never uses a number twice in one boot. So a connection that publishes, although the last known
 * boot has it as publishing and not unpublished, belongs to the next boot. Boots are the numbers 1, 2, 3, …
 */

/** Derives the boots of one batch of claims. The batch takes one boot a server, and each connection of it once. */
export class DerivedBoots {
  readonly #last: ReadonlyMap<Claim, LastBoot>;
  readonly #taken = new Map<string, { boot: string; connections: Set<string> }>();

  constructor(last: ReadonlyMap<Claim, LastBoot>) {
    this.#last = last;
  }

  /** Null where a claim taken earlier in this batch changes the answer: to be asked again after the batch is written. */
  find(claim: Claim): string | null {
    const last = this.#last.get(claim);
    const boot = last === undefined ? "1" : last.isPublishing ? toNext(last.boot) : last.boot;
    const taken = this.#taken.get(claim.server);
    if (taken === undefined) return boot;
    return taken.boot === boot && !taken.connections.has(claim.connection) ? boot : null;
  }

  /** The batch writes this claim with this boot. */
  take({ server, connection }: Claim, boot: string): void {
    const taken = this.#taken.get(server);
    if (taken === undefined) this.#taken.set(server, { boot, connections: new Set([connection]) });
    else taken.connections.add(connection);
  }
}

function toNext(boot: string): string {
  return String((Number.parseInt(boot, 10) || 0) + 1);
}
