import type pg from "pg";

/*
 * While the synchronous standby is away, a COMMIT waits for it without end and keeps its locks; no timeout of PostgreSQL
 * applies to this wait, and it goes on when its client has gone. So who gave up such a connection must not write on a new
 * one, and give that up too: backends would pile up. It asks first whether an abandoned COMMIT still waits. Writers of
 * heartbeats ask on each new connection, all others before each transaction.
 */

/** A COMMIT that this process gave up still waits for the synchronous standby. */
export class StandbyAway extends Error {
  /** cannot_connect_now: the connection is closed, and the work may be tried again. */
  readonly code = "57P03";

  constructor() {
    super("An earlier COMMIT still waits for the synchronous standby");
    this.name = "StandbyAway";
  }
}

/**
 * PostgreSQL shows a role what its own backends wait for. A COMMIT that notifies takes a lock on an object that all
 * databases share, so a second one waits for the first, which waits for the standby.
 */
const STILL_WAITING =
  "SELECT pid FROM pg_stat_activity WHERE pid = ANY($1::int[]) AND wait_event IN ('SyncRep', 'object')";

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
    const { rows } = await client.query<{ pid: number }>(STILL_WAITING, [asked]);
    const waiting = new Set(rows.map(({ pid }) => pid));
    for (const pid of asked) if (!waiting.has(pid)) this.#backends.delete(pid);
    if (waiting.size > 0) throw new StandbyAway();
  }
}
