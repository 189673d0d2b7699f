import { EventEmitter } from "node:events";
import type pg from "pg";
import { beforeEach, describe, expect, it } from "vitest";
import { createLogger } from "../logger.ts";
import { DatabaseWatch } from "./database-watch.ts";
import { isConnectionError } from "./sqlstate.ts";

interface Server {
  standby?: boolean;
  readonly?: boolean;
  system?: string;
  timeline?: string;
}

/** A connection to a server that is described. */
class FakeClient extends EventEmitter {
  readonly #server: Server;
  /** The clusters that the settings were told of. */
  readonly recorded: unknown[] = [];
  isCut = false;
  readonly connection = {
    stream: {
      destroy: () => {
        this.isCut = true;
      },
    },
  };

  constructor(server: Server) {
    super();
    this.#server = server;
  }

  async query(text: string, values?: unknown[]): Promise<object> {
    if (text.includes("INTO settings")) this.recorded.push(values?.[0]);
    const { standby = false, readonly = false, system = "1", timeline = "00000001" } = this.#server;
    return { rows: [{ standby, readonly, system, timeline: standby ? null : timeline }] };
  }
}

describe("the watch over the database's address", () => {
  let watch: DatabaseWatch;
  let moves: number;
  beforeEach(() => {
    watch = new DatabaseWatch({ logger: createLogger({ level: "silent" }) });
    moves = 0;
    watch.onMoved(() => {
      moves += 1;
    });
  });

  async function admit(server: Server, options = { writes: true }): Promise<FakeClient> {
    const client = new FakeClient(server);
    await watch.admit(client as unknown as pg.ClientBase, options);
    return client;
  }

  /** Whether the connection is refused, in a way that makes its caller try another one. */
  async function isRefused(server: Server, options = { writes: true }): Promise<boolean> {
    const failure = await admit(server, options).then(
      () => null,
      (error: unknown) => error,
    );
    if (failure !== null) expect(isConnectionError(failure)).toBe(true);
    return failure !== null;
  }

  it("refuses a standby, for whatever the connection is meant", async () => {
    expect(await isRefused({ standby: true })).toBe(true);
    expect(await isRefused({ standby: true }, { writes: false })).toBe(true);
  });

  it("refuses a server that is read-only to writers alone", async () => {
    expect(await isRefused({ readonly: true })).toBe(true);
    expect(await isRefused({ readonly: true }, { writes: false })).toBe(false);
  });

  it("cuts the connections to the old server, and tells listeners, when a standby has taken over", async () => {
    const old = await admit({ timeline: "00000009" });
    const fresh = await admit({ timeline: "0000000A" });
    await admit({ timeline: "0000000A" });
    expect([old.isCut, fresh.isCut, moves]).toEqual([true, false, 1]);
  });

  it("has versions raised once for each server, before the first connection to it is used", async () => {
    const recorded = [];
    for (const timeline of ["00000001", "00000001", "00000002", "00000002"]) {
      recorded.push((await admit({ timeline })).recorded);
    }
    expect(recorded).toEqual([["1/1"], [], ["1/2"], []]);
  });

  it("refuses the server that another has taken over from", async () => {
    await admit({ timeline: "00000002" });
    expect(await isRefused({ timeline: "00000001" })).toBe(true);
    expect(await isRefused({ timeline: "00000002" })).toBe(false);
    expect(moves).toBe(0);
  });

  it("takes another cluster for a later one, and refuses the one before from then on", async () => {
    await admit({ system: "1", timeline: "00000007" });
    await admit({ system: "2", timeline: "00000001" });
    expect([moves, await isRefused({ system: "1", timeline: "00000007" })]).toEqual([1, true]);
    expect(await isRefused({ system: "2", timeline: "00000001" })).toBe(false);
  });
});
