import type pg from "pg";
import type { Logger } from "../logger.ts";
import { type Cluster, identify, raiseVersions, toText } from "./cluster.ts";

/*
 * Watches which PostgreSQL the database's address leads to. Every new connection passes `admit` before anybody uses it.
 *
 *   a standby, or a server that this process has left  ──▶ refused: the next try may reach the right one
 *   the same server as before                          ──▶ admitted
 *   another server (a standby took over, or a backup was restored)
 *     ──▶ the process has moved: open connections to the old server are cut, versions are raised, listeners are told
 */

/** The connection leads to a server that must not be used now. */
export class WrongServer extends Error {
  /** A lost connection (08004), or one on which nothing can be written (25006). */
  readonly code: "08004" | "25006";

  constructor(code: WrongServer["code"], message: string) {
    super(message);
    this.name = "WrongServer";
    this.code = code;
  }
}

export class DatabaseWatch {
  readonly #logger: Logger;
  readonly #listeners: (() => void)[] = [];
  readonly #admitted = new Set<pg.ClientBase>();
  /** Clusters that the address led to before the current one. */
  readonly #left = new Set<string>();
  #current: Cluster | null = null;
  /** The cluster whose versions this process has raised, or found raised. */
  #raised: Cluster | null = null;
  /** Why the last connection for writers, or for others, was refused; no entry after one was admitted. */
  readonly #refusals = new Map<boolean, string>();

  constructor({ logger }: { logger: Logger }) {
    this.#logger = logger;
  }

  /** Calls the listener when the process has moved: whatever it remembers of the database may be wrong. */
  onMoved(listener: () => void): void {
    this.#listeners.push(listener);
  }

  /**
   * Checks a new connection. `writes`: it is refused too where the server takes no writes now.
   * @throws WrongServer; the database's error
   */
  async admit(client: pg.ClientBase, { writes }: { writes: boolean }): Promise<void> {
    const server = await identify(client);
    try {
      if (server.isStandby) throw new WrongServer("08004", "the address of the database leads to a standby");
      if (writes && server.isReadOnly) throw new WrongServer("25006", "the database takes no writes: it is read-only");
      if (server.cluster !== null) this.#compare(server.cluster);
    } catch (error) {
      this.#logRefusal(writes, (error as Error).message);
      throw error;
    }
    this.#admitted.add(client);
    client.once("end", () => this.#admitted.delete(client));
    if (server.cluster !== null && !server.isReadOnly) await this.#raise(client);
    if (this.#refusals.delete(writes)) this.#logger.info({ writes }, "connections to the database are admitted again");
  }

  /** One line a state: connections are tried again and again. */
  #logRefusal(writes: boolean, reason: string): void {
    if (this.#refusals.get(writes) === reason) return;
    this.#refusals.set(writes, reason);
    this.#logger.warn({ writes, reason }, "a connection to the database was refused");
  }

  /** @throws WrongServer where the process has left this cluster */
  #compare(found: Cluster): void {
    const current = this.#current;
    if (current === null) {
      this.#current = found;
      return;
    }
    const isSameSystem = found.system === current.system;
    if (this.#left.has(found.system) || (isSameSystem && found.timeline < current.timeline)) {
      throw new WrongServer("08004", "the address of the database leads to a server that another has taken over from");
    }
    if (isSameSystem && found.timeline === current.timeline) return;
    if (!isSameSystem) this.#left.add(current.system);
    this.#current = found;
    this.#logger.warn({ from: toText(current), to: toText(found) }, "the database has moved to another server");
    // What is under way there has an unknown outcome: it is written again here.
    for (const client of this.#admitted) (client as pg.Client).connection.stream.destroy();
    this.#admitted.clear();
    for (const listener of this.#listeners) listener();
  }

  /** Before anybody draws a version on this server. Other connections of the process may do the same meanwhile. */
  async #raise(client: pg.ClientBase): Promise<void> {
    const cluster = this.#current;
    if (cluster === null || this.#raised === cluster) return;
    await raiseVersions(client, cluster, this.#raised !== null);
    this.#raised = cluster;
  }
}
