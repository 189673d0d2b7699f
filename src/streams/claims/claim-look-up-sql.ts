import { toPlainArray } from "../../db/array-literal.ts";
import type { Pool } from "../../db/pool.ts";
import type { SessionPolicy, StreamStatus } from "../../protocol/stream.ts";
import type { KeyCache, KnownKey } from "../keys/key-cache.ts";
import { toHashArray } from "../keys/stream-key.ts";
import { STREAM_COLUMNS, type StreamRow, toStream } from "../stream-rows.ts";
import type { ClaimResult } from "./claim.ts";
import { type ActiveSession, type Claimant, decideClaim, refusalOf } from "./claim-decision.ts";

/*
 * What keys are worth and who holds their streams, for many at once, without a lock: one statement, one snapshot. What
 * changes nothing may be answered from it, since it was true while the caller waited: a refusal, or that a connection
 * still holds what it holds. Everything else is the claim writer's.
 */

export interface ReadClaim {
  known: KnownKey;
  isExpired: boolean;
  /** 0 where the key never expires. */
  lifetimeMs: number;
  /** The session that is not over. */
  active: (ActiveSession & { sessionId: string }) | null;
}

interface Row extends Omit<StreamRow, "status" | "id"> {
  i: number;
  streamId: string;
  streamStatus: StreamStatus;
  policy: SessionPolicy;
  isExpired: boolean;
  lifetimeMs: number;
  goodUntil: Date | null;
  sessionId: string | null;
  server: string;
  boot: string;
  connection: string;
  state: ActiveSession["state"];
  isReserved: boolean;
  /** Null where the version is the one that is known: then the stream's own columns are, too. */
  id: string | null;
  status: StreamStatus;
}

/** No stream has it. */
const NO_VERSION = 0;

const READ = `SELECT k.i, k."streamId", k.status AS "streamStatus", k.policy, k."isExpired", k."lifetimeMs", k."goodUntil",
    k."sessionId", k.server, k.boot, k.connection, k.state, k."isReserved", ${STREAM_COLUMNS}
  FROM read_claimed($1, $2) AS k CROSS JOIN LATERAL (SELECT (k.fresh).*) AS s`;

/** By hash (hex), those that are somebody's; what is read is kept as known. @throws the database's error */
export async function readClaims(pool: Pool, keys: KeyCache, hashes: string[]): Promise<Map<string, ReadClaim>> {
  const before = hashes.map((hash) => keys.find(hash));
  const versions = before.map((known) => known?.stream.version ?? NO_VERSION);
  const reading = keys.startReading();
  const claims = new Map<string, ReadClaim>();
  try {
    const { rows } = await pool.query<Row>({
      name: "read-claimed",
      text: READ,
      values: [toHashArray(hashes), toPlainArray(versions)],
    });
    for (const row of rows) {
      const hash = hashes[row.i - 1] as string;
      const known = row.id === null ? (before[row.i - 1] as KnownKey) : toKnownKey(row, row.id);
      if (row.id !== null) reading.keep(hash, known);
      claims.set(hash, toReadClaim(row, known));
    }
    return claims;
  } finally {
    reading.end();
  }
}

/** The answer, where it changes nothing; null where the claim is to be written, or decided with the stream's lock. */
export function answerUnlocked(
  { known, isExpired, lifetimeMs, active }: ReadClaim,
  claim: Omit<Claimant, "boot" | "isBootDerived" | "admittedAt"> & { boot: string | null; starts: boolean },
): ClaimResult | null {
  const { stream, policy } = known;
  const reason = refusalOf({ status: stream.status, isExpired });
  if (reason !== null) return { valid: false, reason };
  // Without a boot, it takes the server's other sessions to tell one connection from the next.
  if (claim.boot === null || active === null) return null;
  const { server, boot, connection, mayOust } = claim;
  const claimant = { server, boot, connection, mayOust, isBootDerived: false, admittedAt: null };
  const decision = decideClaim({ status: stream.status, policy, isExpired }, active, claimant);
  if (decision.kind === "refuse") return { valid: false, reason: decision.reason };
  if (decision.kind !== "same" || active.state !== "live" || claim.starts) return null;
  return { valid: true, sessionId: active.sessionId, stream, lifetimeMs, ousted: null };
}

function toKnownKey({ policy, goodUntil, ...row }: Row, id: string): KnownKey {
  return { stream: toStream({ ...row, id }), policy, goodUntil };
}

function toReadClaim(row: Row, known: KnownKey): ReadClaim {
  const { sessionId, server, boot, connection, state, isReserved, isExpired, lifetimeMs } = row;
  const active =
    sessionId === null ? null : { sessionId, server, boot, connection, state, isReserved, claimedAt: null };
  return { known, isExpired, lifetimeMs, active };
}
