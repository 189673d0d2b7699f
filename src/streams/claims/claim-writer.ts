import { toTextArray } from "../../db/array-literal.ts";
import { type Pool, type PoolClient, withTransaction } from "../../db/pool.ts";
import type { DropReason, Refusal } from "../../protocol/stream.ts";
import { readStreams } from "../sessions/session-read-sql.ts";
import { goLive, setStatus } from "../sessions/session-write-sql.ts";
import { type StreamRow, toStream } from "../stream-rows.ts";
import type { Claim, ClaimResult, Drop } from "./claim.ts";
import { type ClaimDecision, decideClaim } from "./claim-decision.ts";
import { type ActiveRow, readClaimedRows } from "./claim-lock-sql.ts";
import { begin, endOusted, renew, resume, toAdmittedAt, type WrittenClaim } from "./claim-write-sql.ts";
import { BatchBoots, readBoots } from "./derived-boots.ts";

/*
 * Claims, decided and written many at once: one transaction that holds the lock of every stream it decides about. A
 * batch waits for nobody's lock: a stream that somebody else is at is left out, to be claimed by itself.
 */

/** What a batch waits for although its streams are its own, somebody's hands on the sessions, holds all of it up. */
const BATCH_LOCK_TIMEOUT_MS = 250;

/**
 * What became of a claim. `locked`: somebody else is at its stream. `otherBoot`: an earlier one of the batch showed a
 * new boot of its server. `abandoned`: nobody waits for it any more. None of these was written.
 */
export type ClaimOutcome = { type: "decided"; result: ClaimResult } | { type: "locked" | "otherBoot" | "abandoned" };

export interface ClaimWriterOptions {
  defaultReconnectSeconds: number;
}

type Decided = WrittenClaim & { decision: Exclude<ClaimDecision, { kind: "refuse" }> };

export class ClaimWriter {
  readonly #pool: Pool;
  readonly #options: ClaimWriterOptions;

  constructor({ pool }: { pool: Pool }, options: ClaimWriterOptions) {
    this.#pool = pool;
    this.#options = options;
  }

  /** Waits for its stream's lock. @throws the database's error, or the signal's reason where nobody waits any more */
  async write(claim: Claim): Promise<ClaimResult> {
    return withTransaction(this.#pool, async (client) => {
      await client.query("SELECT FROM streams WHERE id = $1 FOR NO KEY UPDATE", [claim.streamId]);
      const [outcome] = await this.#decideAndWrite(client, [claim]);
      claim.signal?.throwIfAborted();
      if (outcome?.type !== "decided") throw new Error(`a claim by itself was ${outcome?.type}`);
      return outcome.result;
    });
  }

  /**
   * Of different streams; all are committed, or none is.
   * @throws the database's error, or the reason of a signal that came too late to leave its claim out
   */
  async writeBatch(claims: readonly Claim[]): Promise<ClaimOutcome[]> {
    return withTransaction(this.#pool, async (client) => {
      // Planned once a connection, as `read_claimed` is.
      await client.query(`SET LOCAL lock_timeout = ${BATCH_LOCK_TIMEOUT_MS}; SET LOCAL enable_seqscan = off`);
      const { rows } = await client.query<{ id: string }>({
        name: "lock-claimed",
        text: "SELECT id FROM streams WHERE id = ANY($1::text[]) FOR NO KEY UPDATE SKIP LOCKED",
        values: [toTextArray(claims.map(({ streamId }) => streamId))],
      });
      const locked = new Set(rows.map(({ id }) => id));
      const own = claims.filter(({ streamId }) => locked.has(streamId));
      const decided = own.length === 0 ? [] : await this.#decideAndWrite(client, own);
      for (const [i, { signal }] of own.entries()) if (isValid(decided[i])) signal?.throwIfAborted();
      const outcomes = new Map(own.map((claim, i) => [claim, decided[i] as ClaimOutcome]));
      return claims.map((claim) => outcomes.get(claim) ?? { type: "locked" });
    });
  }

  /** Holding the locks of all their streams. */
  async #decideAndWrite(client: PoolClient, claims: readonly Claim[]): Promise<ClaimOutcome[]> {
    const rows = await readClaimedRows(client, claims, this.#options.defaultReconnectSeconds);
    const boots = new BatchBoots(await readBoots(client, claims));
    const decided = new Map<Claim, Decided>();
    const outcomes = claims.map((claim): ClaimOutcome | null => {
      if (claim.signal?.aborted) return { type: "abandoned" };
      const row = rows.get(claim);
      if (row === undefined || !row.keyIsGood) return refused("unknown");
      const boot = claim.boot ?? boots.find(claim);
      if (boot === null) return { type: "otherBoot" };
      const { server, connection, mayOust } = claim;
      const decision = decideClaim(row, row.active, {
        ...{ server, boot, connection, mayOust },
        isBootDerived: claim.boot === null,
        admittedAt: toAdmittedAt(claim, row),
      });
      if (decision.kind === "refuse") return refused(decision.reason);
      if (claim.boot === null) boots.take(claim, boot);
      // What was said of it while the database was away named the newer id.
      const isKept = decision.kind === "same" && claim.admittedAt === undefined;
      const sessionId = isKept ? (row.active?.sessionId ?? claim.sessionId) : claim.sessionId;
      decided.set(claim, { claim, boot, row, decision, sessionId });
      return null;
    });
    const fresh = await this.#hold(client, [...decided.values()]);
    return outcomes.map((outcome, i) => {
      if (outcome !== null) return outcome;
      const { row, decision, sessionId } = decided.get(claims[i] as Claim) as Decided;
      const { active, lifetimeMs } = row;
      const ousted = decision.kind === "oust" && active !== null ? toDrop(active, decision.reason) : null;
      const stream = toStream(fresh.get(row.id) ?? row);
      return { type: "decided", result: { valid: true, sessionId, stream, lifetimeMs, ousted } };
    });
  }

  /** @returns the streams whose status changed, as they are then */
  async #hold(client: PoolClient, decided: readonly Decided[]): Promise<Map<string, StreamRow>> {
    const of = (kind: Decided["decision"]["kind"]) => decided.filter(({ decision }) => decision.kind === kind);
    const [ousting, same, resuming, starting] = [
      of("oust"),
      of("same"),
      of("resume"),
      decided.filter(({ claim }) => claim.starts),
    ];
    const isOn = ({ row: { status } }: Decided) => status === "live" || status === "reconnecting";
    // What follows an ousted one is not live before it has started.
    const ended = ousting.filter(isOn);
    const left = resuming.filter(({ row }) => row.active?.state === "live");
    await endOusted(client, ousting);
    await setStatus(client, ended.map(toStreamId), "ended");
    await renew(client, same);
    await resume(client, resuming);
    await setStatus(client, left.map(toStreamId), "reconnecting");
    await begin(client, [...of("begin"), ...ousting]);
    await goLive(
      client,
      starting.map(({ claim, sessionId }) => ({ ...claim, sessionId })),
    );
    return readStreams(client, [...ended, ...left, ...starting].map(toStreamId));
  }
}

function isValid(outcome: ClaimOutcome | undefined): boolean {
  return outcome?.type === "decided" && outcome.result.valid;
}

function refused(reason: Refusal): ClaimOutcome {
  return { type: "decided", result: { valid: false, reason } };
}

function toStreamId({ claim }: Decided): string {
  return claim.streamId;
}

function toDrop({ server, boot, connection, sessionId }: ActiveRow, reason: DropReason): Drop {
  return { server, boot, connection, sessionId, reason };
}
