import type pg from "pg";

/*
 * While the synchronous standby is away, a COMMIT waits for it without end and keeps its locks; no timeout of PostgreSQL
 * applies to this wait, and it goes on when its client has gone. So a writer that gave up such a connection must not
 * send the next batch on a new one, and give that up too: backends would pile up. It asks on each new connection whether
 * the abandoned COMMIT still waits, and closes the connection if so.
 */

/** A COMMIT that this process gave up still waits for the synchronous standby. */
export class StandbyAway extends Error {
  /** cannot_connect_now: the connection is closed, and the batch is tried again. */
  readonly code = "57P03";

  constructor() {
    super("An earlier COMMIT still waits for the synchronous standby");
    this.name = "StandbyAway";
  }
}

export class AbandonedCommits {
  readonly #backends = new Set<number>();

  /** The process closes the connection without knowing what its backend does. */
  abandon(client: pg.ClientBase): void {
    const { processID } = client as pg.ClientBase & { processID: number | null };
    if (processID !== null) this.#backends.add(processID);
  }

  /** @throws StandbyAway while an abandoned backend waits; the database's error */
  async assertNone(client: pg.ClientBase): Promise<void> {
    if (this.#backends.size === 0) return;
    const asked = [...this.#backends];
    // PostgreSQL shows a role what its own backends wait for.
    const { rows } = await client.query<{ pid: number }>(
      "SELECT pid FROM pg_stat_activity WHERE pid = ANY($1::int[]) AND wait_event = 'SyncRep'",
      [asked],
    );
    const waiting = new Set(rows.map(({ pid }) => pid));
    for (const pid of asked) if (!waiting.has(pid)) this.#backends.delete(pid);
    if (waiting.size > 0) throw new StandbyAway();
  }
}
