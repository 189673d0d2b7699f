import { toPlainArray } from "../../db/array-literal.ts";
import type { Pool } from "../../db/pool.ts";
import type { SessionPolicy, Stream } from "../../protocol/stream.ts";
import type { KeyCache, KnownKey } from "../keys/key-cache.ts";
import { toHashArray } from "../keys/stream-key.ts";
import { STREAM_COLUMNS, type StreamRow, toStream } from "../stream-rows.ts";
import type { ActiveSession } from "./claim-decision.ts";

/*
 * Reads the streams of many keys and who holds them: one statement, one snapshot, no lock.
 */

/** A key's stream as it was while the caller waited for this read. */
export interface FoundStream {
  known: KnownKey;
  isExpired: boolean;
  /** 0 where the key never expires. */
  lifetimeMs: number;
  /** The session that has not ended. */
  active: (ActiveSession & { sessionId: string }) | null;
}

/** Columns in the order of LOOK_UP. As arrays: `pg` builds objects from rows at twice the cost, and this runs for every claim. */
type Row = [
  i: number,
  isExpired: boolean,
  lifetimeMs: number,
  sessionId: string | null,
  server: string,
  boot: string,
  connection: string,
  state: ActiveSession["state"],
  isReserved: boolean,
  goodUntil: Date | null,
  /** Null where the cached version is the newest; the cached stream is right then. */
  fresh: FreshStream | null,
];

/** JSON has no dates. */
type DateColumn = "expiresAt" | "startedAt" | "endedAt";
type FreshStream = Omit<StreamRow, DateColumn> & Record<DateColumn, string | null> & { policy: SessionPolicy };

/** Versions begin at 1. */
const NO_VERSION = 0;

const LOOK_UP = `SELECT k.i, k."isExpired", k."lifetimeMs", k."sessionId", k.server, k.boot, k.connection, k.state, k."isReserved", k."goodUntil",
    CASE WHEN (k.fresh).id IS NOT NULL
      THEN (SELECT row_to_json(r) FROM (SELECT ${STREAM_COLUMNS}, s.policy FROM (SELECT (k.fresh).*) AS s) AS r) END
  FROM read_claimed($1, $2) AS k`;

/** By hash in hex; a key that belongs to no stream is missing. Streams that changed are cached. @throws the database's error */
export async function lookUpStreams(
  pool: Pool,
  keys: KeyCache,
  hashes: readonly string[],
): Promise<Map<string, FoundStream>> {
  const cached = hashes.map((hash) => keys.find(hash));
  const versions = cached.map((known) => known?.stream.version ?? NO_VERSION);
  const reading = keys.startReading();
  const found = new Map<string, FoundStream>();
  try {
    const { rows } = await pool.query<Row>({
      name: "look-up-streams",
      rowMode: "array",
      text: LOOK_UP,
      values: [toHashArray(hashes), toPlainArray(versions)],
    });
    for (const row of rows) {
      const at = row[0] - 1;
      const hash = hashes[at] as string;
      const known = row[10] === null ? (cached[at] as KnownKey) : toKnownKey(row[10], row[9]);
      if (row[10] !== null) reading.keep(hash, known);
      found.set(hash, toFound(row, known));
    }
    // On Node 20 the result of a query stays reachable, from `pg`'s closures, until the next full garbage collection.
    // Emptied, it does not have to be copied by every collection of young objects before that.
    rows.length = 0;
    return found;
  } finally {
    reading.end();
  }
}

function toFound(row: Row, known: KnownKey): FoundStream {
  const [, isExpired, lifetimeMs, sessionId, server, boot, connection, state, isReserved] = row;
  const active =
    sessionId === null ? null : { sessionId, server, boot, connection, state, isReserved, claimedAt: null };
  return { known, isExpired, lifetimeMs, active };
}

function toKnownKey({ policy, expiresAt, startedAt, endedAt, ...row }: FreshStream, goodUntil: Date | null): KnownKey {
  const stream: Stream = toStream({
    ...row,
    expiresAt: toDate(expiresAt),
    startedAt: toDate(startedAt),
    endedAt: toDate(endedAt),
  });
  return { stream, policy, goodUntil };
}

function toDate(text: string | null): Date | null {
  return text === null ? null : new Date(text);
}
