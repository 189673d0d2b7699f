import { toTextArray } from "../../db/array-literal.ts";
import type { PoolClient } from "../../db/pool.ts";
import type { Claim } from "./claim.ts";

/*
 * The boots of servers that cannot tell. A connection id that publishes in the last boot that is known, and was not
 * unpublished since, means that the server was started anew: ids are never given twice.
 */

interface LastBoot {
  boot: string;
  /** Whether the connection publishes in it. */
  isKnown: boolean;
}

type Asker = Pick<Claim, "server" | "connection" | "boot">;

/** By claim, of those that name no boot; of servers that were never seen there is none. */
export async function readBoots<C extends Asker>(
  client: PoolClient,
  claims: readonly C[],
): Promise<Map<Asker, LastBoot>> {
  const asking = claims.filter(({ boot }) => boot === null);
  if (asking.length === 0) return new Map();
  const { rows } = await client.query<LastBoot & { i: number }>(
    `SELECT k.i::integer, last.boot, EXISTS (SELECT FROM stream_sessions WHERE server = k.server AND boot = last.boot AND connection = k.connection
         AND end_reason IS DISTINCT FROM 'unpublished') AS "isKnown"
     FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (server, connection, i)
     CROSS JOIN LATERAL (SELECT boot FROM stream_sessions WHERE server = k.server ORDER BY claimed_at DESC LIMIT 1) AS last`,
    [toTextArray(asking.map(({ server }) => server)), toTextArray(asking.map(({ connection }) => connection))],
  );
  return new Map(rows.map(({ i, ...last }) => [asking[i - 1] as C, last]));
}

/** What a batch of claims makes of them: all of one server in one boot, and each of its connections once. */
export class BatchBoots {
  readonly #last: Map<Asker, LastBoot>;
  readonly #taken = new Map<string, { boot: string; connections: Set<string> }>();

  constructor(last: Map<Asker, LastBoot>) {
    this.#last = last;
  }

  /** Null where that is to be asked again after the batch: what was taken before changes the answer. */
  find(claim: Asker): string | null {
    const last = this.#last.get(claim);
    const boot = last === undefined ? "1" : last.isKnown ? next(last.boot) : last.boot;
    const taken = this.#taken.get(claim.server);
    if (taken === undefined) return boot;
    return taken.boot === boot && !taken.connections.has(claim.connection) ? boot : null;
  }

  take({ server, connection }: Asker, boot: string): void {
    const taken = this.#taken.get(server);
    if (taken === undefined) this.#taken.set(server, { boot, connections: new Set([connection]) });
    else taken.connections.add(connection);
  }
}

function next(boot: string): string {
  return String((Number.parseInt(boot, 10) || 0) + 1);
}
