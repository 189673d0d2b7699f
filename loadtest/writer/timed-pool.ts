import type { Pool, PoolClient } from "../../src/db/pool.ts";

/** How long each kind of statement took, over all of a pool's connections. */
export class StatementTimes {
  readonly #ms = new Map<string, number>();

  add(label: string, ms: number): void {
    this.#ms.set(label, (this.#ms.get(label) ?? 0) + ms);
  }

  /** Milliseconds by statement since the last call, divided by the number of batches. */
  take(batches: number): Record<string, number> {
    const taken = Object.fromEntries([...this.#ms].map(([label, ms]) => [label, ms / Math.max(1, batches)]));
    this.#ms.clear();
    return taken;
  }
}

type Query = (...given: unknown[]) => Promise<unknown>;

export interface SeenQuery {
  name?: string;
  text: string;
  values?: unknown[];
}

/** The statement of ours that makes a batch durable. */
const WRITE = "write-batch";

/**
 * Times every awaited query of the pool's clients. `onQuery` may run something before the one that writes a batch, on the
 * same connection.
 */
export function timeStatements(
  pool: Pool,
  options: { onQuery?: (client: PoolClient, query: SeenQuery) => Promise<void> } = {},
): StatementTimes {
  const times = new StatementTimes();
  pool.on("connect", (client) => {
    const original = client.query.bind(client) as unknown as Query;
    const timed: Query = async (...given) => {
      const [first, values] = given;
      const query = (typeof first === "string" ? { text: first, values } : first) as SeenQuery;
      const untimed = new Proxy(client, { get: (on, key) => (key === "query" ? original : Reflect.get(on, key)) });
      if (query.name === WRITE) await options.onQuery?.(untimed, query);
      const startedAt = performance.now();
      const result = await original(...given);
      times.add(toLabel(query), performance.now() - startedAt);
      return result;
    };
    client.query = timed as never;
  });
  return times;
}

function toLabel(query: SeenQuery): string {
  return (
    query.name ??
    (query.text.includes("lock_writers") ? "locks" : query.text.trim().split(/\s/)[0]?.toLowerCase()) ??
    ""
  );
}
