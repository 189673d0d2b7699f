import { type Pool, type PoolClient, withTransaction } from "../../db/pool.ts";
import type { Refusal } from "../../protocol/stream.ts";
import { lockStream, readStreams } from "../sessions/session-read-sql.ts";
import { goLive, setStatus } from "../sessions/session-write-sql.ts";
import { toStream } from "../stream-rows.ts";
import type { Claim, ClaimResult } from "./claim.ts";
import { decideClaim } from "./claim-decision.ts";
import { type ClaimedRow, lockFreeStreams, readClaimedRows, readLastBoots } from "./claim-lock-sql.ts";
import { begin, type DecidedClaim, endOusted, renew, resume } from "./claim-write-sql.ts";
import { DerivedBoots } from "./derived-boots.ts";

/*
 * Decides and writes claims, many in one transaction that holds the lock of every stream it decides about. A batch
 * waits for no stream's lock: a stream that somebody else has locked is left out, to be claimed by itself.
 */

/** Sessions may be locked although their streams are not. One such lock holds up the whole batch, so it is waited for briefly. */
const BATCH_LOCK_TIMEOUT_MS = 250;

export type ClaimOutcome =
  | { type: "decided"; result: ClaimResult }
  /** Somebody else has locked the stream; nothing was written. */
  | { type: "locked" }
  /** A claim earlier in the batch showed a new boot of the same media server; nothing was written. */
  | { type: "otherBoot" }
  /** Nobody waits for the answer any more; nothing was written. */
  | { type: "abandoned" };

export interface ClaimWriterOptions {
  defaultReconnectSeconds: number;
}

export class ClaimWriter {
  readonly #pool: Pool;
  readonly #options: ClaimWriterOptions;

  constructor({ pool }: { pool: Pool }, options: ClaimWriterOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** Writes one claim; waits for its stream's lock. @throws the database's error; the signal's reason where nobody waits any more */
  async write(claim: Claim): Promise<ClaimResult> {
    return withTransaction(this.#pool, async (client) => {
      await lockStream(client, claim.streamId);
      const [outcome] = await this.#decideAndWrite(client, [claim]);
      claim.signal?.throwIfAborted();
      if (outcome?.type !== "decided") throw new Error(`a claim by itself was ${outcome?.type}`);
      return outcome.result;
    });
  }

  /**
   * Writes claims of different streams; all are committed, or none is.
   * @throws the database's error; a signal's reason where it came too late to leave its claim out
   */
  async writeBatch(claims: readonly Claim[]): Promise<ClaimOutcome[]> {
    return withTransaction(this.#pool, async (client) => {
      // Statements with a name are planned once a connection, maybe while the tables are next to empty.
      await client.query(`SET LOCAL lock_timeout = ${BATCH_LOCK_TIMEOUT_MS}; SET LOCAL enable_seqscan = off`);
      const streamIds = claims.map(({ streamId }) => streamId);
      const locked = await lockFreeStreams(client, streamIds);
      const own = claims.filter(({ streamId }) => locked.has(streamId));
      const decided = own.length === 0 ? [] : await this.#decideAndWrite(client, own);
      for (const [i, { signal }] of own.entries()) if (isClaimed(decided[i])) signal?.throwIfAborted();
      const outcomes = new Map(own.map((claim, i) => [claim, decided[i] as ClaimOutcome]));
      return claims.map((claim) => outcomes.get(claim) ?? { type: "locked" });
    });
  }

  /** The caller holds the locks of all their streams. */
  async #decideAndWrite(client: PoolClient, claims: readonly Claim[]): Promise<ClaimOutcome[]> {
    const rows = await readClaimedRows(client, claims, this.#options.defaultReconnectSeconds);
    const boots = new DerivedBoots(await readLastBoots(client, claims));
    const decisions = claims.map((claim) => decide(claim, rows.get(claim), boots));
    const written = await writeDecided(
      client,
      decisions.filter((decision) => "decision" in decision),
    );
    return decisions.map((decision) => ("decision" in decision ? (written.get(decision) as ClaimOutcome) : decision));
  }
}

function decide(claim: Claim, row: ClaimedRow | undefined, boots: DerivedBoots): DecidedClaim | ClaimOutcome {
  if (claim.signal?.aborted) return { type: "abandoned" };
  if (row === undefined || !row.keyIsGood) return refused("unknown");
  const boot = claim.boot ?? boots.find(claim);
  if (boot === null) return { type: "otherBoot" };
  const admittedAt = toAdmittedAt(claim, row);
  const { server, connection, mayOust } = claim;
  const claimant = { server, boot, connection, mayOust, isBootDerived: claim.boot === null, admittedAt };
  const decision = decideClaim(row, row.active, claimant);
  if (decision.kind === "refuse") return refused(decision.reason);
  if (claim.boot === null) boots.take(claim, boot);
  // After an outage the claim's own id stays: the media server has used it in its reports since.
  const keepsId = decision.kind === "same" && claim.admittedAt === undefined;
  const sessionId = keepsId ? (row.active?.sessionId ?? claim.sessionId) : claim.sessionId;
  return { claim, boot, row, decision, sessionId, admittedAt };
}

function toAdmittedAt({ admittedAt }: Claim, { now, readAt }: ClaimedRow): Date | null {
  return admittedAt === undefined ? null : new Date(now.getTime() - (readAt - admittedAt));
}

async function writeDecided(
  client: PoolClient,
  decided: readonly DecidedClaim[],
): Promise<Map<DecidedClaim, ClaimOutcome>> {
  const of = (kind: DecidedClaim["decision"]["kind"]) => decided.filter(({ decision }) => decision.kind === kind);
  const [ousting, resuming] = [of("oust"), of("resume")];
  const starting = decided.filter(({ claim }) => claim.starts);
  // A stream whose session is ousted is not live before the next session starts.
  const ended = ousting.filter(({ row: { status } }) => status === "live" || status === "reconnecting");
  const left = resuming.filter(({ row }) => row.active?.state === "live");
  await endOusted(client, ousting);
  await setStatus(client, ended.map(toStreamId), "ended");
  await renew(client, of("same"));
  await resume(client, resuming);
  await setStatus(client, left.map(toStreamId), "reconnecting");
  await begin(client, [...of("begin"), ...ousting]);
  await goLive(
    client,
    starting.map(({ claim, sessionId }) => ({ ...claim, sessionId })),
  );
  const changed = await readStreams(client, [...ended, ...left, ...starting].map(toStreamId));
  return new Map(
    decided.map((one) => {
      const { row, decision, sessionId } = one;
      const ousted =
        decision.kind === "oust" && row.active !== null
          ? { ...toConnection(row.active), reason: decision.reason }
          : null;
      const stream = toStream(changed.get(row.id) ?? row);
      const result: ClaimResult = { valid: true, sessionId, stream, lifetimeMs: row.lifetimeMs, ousted };
      return [one, { type: "decided", result }];
    }),
  );
}

function isClaimed(outcome: ClaimOutcome | undefined): boolean {
  return outcome?.type === "decided" && outcome.result.valid;
}

function refused(reason: Refusal): ClaimOutcome {
  return { type: "decided", result: { valid: false, reason } };
}

function toStreamId({ claim }: DecidedClaim): string {
  return claim.streamId;
}

function toConnection({ server, boot, connection, sessionId }: NonNullable<ClaimedRow["active"]>) {
  return { server, boot, connection, sessionId };
}
