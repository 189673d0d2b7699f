import type { Clock } from "../../src/client/clock.ts";
import { systemClock } from "../../src/client/clock.ts";
import type { TestDatabase } from "./database.ts";
import type { ServerProcess } from "./server-process.ts";

/*
 * Clocks that somebody sets: those of a server, of its database and of players. Only wall clocks can be set.
 */

export const STEP_MS = 3_600_000;

/** A clock that is right, and can be set forward by an hour and back again. */
export interface SettableClock {
  name: string;
  setForward(): Promise<void> | void;
  setBack(): Promise<void> | void;
}

/** Replaces Date in a server's process; at SIGUSR2 the clock is set forward, or back. */
const SETTABLE_DATE = `
const Real = Date;
let byMs = 0;
globalThis.Date = class Date extends Real {
  constructor(...given) {
    if (given.length === 0) super(Real.now() + byMs);
    else super(...given);
  }
  static now() { return Real.now() + byMs; }
};
process.on("SIGUSR2", () => { byMs = byMs === 0 ? ${STEP_MS} : 0; });
`;

/** The environment of a server whose clock can be set. */
export const SETTABLE_NODE = {
  NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(SETTABLE_DATE)}`,
};

/** The clock of a server that was started with `SETTABLE_NODE`. */
export function clockOfServer({ pid }: ServerProcess): SettableClock {
  const step = () => void process.kill(pid, "SIGUSR2");
  return { name: "server", setForward: step, setBack: step };
}

/**
 * Gives a database a clock that can be set: functions that hide those of PostgreSQL, in a schema that is searched first.
 * Call it before the server connects.
 */
export async function clockOfDatabase(database: TestDatabase): Promise<SettableClock> {
  const name = new URL(database.url).pathname.slice(1);
  await database.query("CREATE SCHEMA settable");
  await database.query("CREATE TABLE settable.clock (by interval NOT NULL)");
  await database.query("INSERT INTO settable.clock VALUES ('0')");
  for (const clock of ["clock_timestamp", "now"]) {
    await database.query(
      `CREATE FUNCTION settable.${clock}() RETURNS timestamptz LANGUAGE sql AS $$ SELECT pg_catalog.${clock}() + by FROM settable.clock $$`,
    );
  }
  await database.query(`ALTER DATABASE ${name} SET search_path = public, settable, pg_catalog`);
  const set = async (by: string) => {
    await database.query("UPDATE settable.clock SET by = $1", [by]);
  };
  return { name: "database", setForward: () => set(`${STEP_MS} ms`), setBack: () => set("0") };
}

/** The clock of players' devices. */
export function createDeviceClock(): Clock & SettableClock {
  let byMs = 0;
  return {
    ...systemClock,
    wallMs: () => systemClock.wallMs() + byMs,
    name: "players",
    setForward() {
      byMs = STEP_MS;
    },
    setBack() {
      byMs = 0;
    },
  };
}
