import { isConnectionError } from "../../db/sqlstate.ts";
import { AppError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { DropReason, Stream, Verdict } from "../../protocol/stream.ts";
import { isAway } from "../is-away.ts";
import type { KnownKey } from "../keys/key-cache.ts";
import type { PublishedConnection } from "../publish-gate.ts";
import type { ConnectionOnServer } from "../sessions/session-read-sql.ts";
import type { SessionStore } from "../sessions/session-store.ts";
import type { ReportedFigures } from "../sessions/stats-writer.ts";
import { mergeFigures } from "../sessions/stats-writer.ts";
import type { Claim, Drop } from "./claim.ts";
import { refusalOf } from "./claim-decision.ts";
import { type Publisher, StreamHolders } from "./stream-holders.ts";

/*
 * Sessions while the database is away. A key that is known is admitted, provisionally: the session lives here until
 * the database is back, is written then as of the time it was admitted, and goes if somebody else was earlier.
 * Nothing else is decided here, and what was live before goes on.
 */

const RETRY_MS = 1000;
/** Past it nobody is admitted, and of ends that wait the oldest is left to its lease. */
const MAX_WAITING = 10_000;

interface ProvisionalSession {
  /** Nobody waits for its answer any more. */
  claim: Omit<Claim, "signal">;
  /** Monotonic. */
  admittedAt: number;
  stream: Stream;
  lifetimeMs: number;
  hasStarted: boolean;
  figures: ReportedFigures | null;
  endReason: string | null;
}

interface WaitingEnd {
  at: ConnectionOnServer;
  reason: string;
}

export interface OutageParts {
  store: Pick<SessionStore, "claim" | "start" | "reportConnection" | "endConnection">;
  logger: Logger;
  /** Of a provisional session that lost its stream. */
  onDrop: (drop: Drop) => void;
}

export class Outage {
  readonly #parts: OutageParts;
  readonly #sessions = new Map<string, ProvisionalSession>();
  readonly #holders = new StreamHolders();
  /** Ends that could not be written, the oldest first. */
  #ends: WaitingEnd[] = [];
  #timer: NodeJS.Timeout | null = null;
  #isReconciling = false;
  #isStopped = false;

  constructor(parts: OutageParts) {
    this.#parts = parts;
  }

  /** Remembered for as long as the process knows of it: the first one wins in an outage, too. */
  holds(streamId: string, claim: Pick<Claim, "sessionId" | "server" | "connection" | "leaseSeconds">): void {
    this.#holders.put(streamId, claim);
  }

  heardOf(publisher: Publisher): void {
    this.#holders.hear(publisher);
  }

  letGo(publisher: Publisher): void {
    this.#holders.drop(publisher);
  }

  /** Admits a known key. @throws AppError `unavailable` where more wait than are held */
  admit(known: KnownKey, { signal: _, ...claim }: Claim): Verdict {
    const { stream, policy, goodUntil } = known;
    const again = this.again(stream.id, claim);
    if (again !== null) return again;
    const now = Date.now();
    if (goodUntil !== null && goodUntil.getTime() <= now) return { valid: false, reason: "unknown" };
    const expiresInMs = stream.expiresAt === null ? null : Date.parse(stream.expiresAt) - now;
    const refusal = refusalOf({ status: stream.status, isExpired: expiresInMs !== null && expiresInMs <= 0 });
    if (refusal !== null) return { valid: false, reason: refusal };
    const holder = this.#holders.find(stream.id);
    if (holder !== null && (holder.server !== claim.server || holder.connection !== claim.connection)) {
      const mayOust = claim.mayOust === "any" || holder.server !== claim.server;
      if (policy === "first_wins" || !mayOust) return { valid: false, reason: "already_live" };
    }
    if (this.#sessions.size >= MAX_WAITING) {
      throw new AppError("unavailable", "The database is away; try again.", { retryAfterMs: RETRY_MS });
    }
    const session: ProvisionalSession = {
      claim,
      admittedAt: performance.now(),
      stream: claim.starts ? { ...stream, status: "live" } : stream,
      lifetimeMs: expiresInMs ?? 0,
      hasStarted: claim.starts,
      figures: null,
      endReason: null,
    };
    this.#sessions.set(claim.sessionId, session);
    this.holds(stream.id, claim);
    this.#scheduleReconcile();
    return toVerdict(session);
  }

  /** What a connection that was admitted and asks again was told; null where it has no provisional session. */
  again(streamId: string, { server, boot, connection }: Pick<Claim, "server" | "boot" | "connection">): Verdict | null {
    // Without a boot, the same connection again is another one of the next boot.
    if (boot === null) return null;
    for (const session of this.#sessions.values()) {
      const { claim, endReason } = session;
      const isSame = claim.server === server && claim.boot === boot && claim.connection === connection;
      if (isSame && claim.streamId === streamId && endReason === null) return toVerdict(session);
    }
    return null;
  }

  /** The stream of a provisional session of this server; null where it is none. */
  find(owner: { server: string; boot: string | null }, sessionId: string): Stream | null {
    const session = this.#sessions.get(sessionId);
    if (session?.claim.server !== owner.server || session.claim.boot !== owner.boot) return null;
    return session.endReason === null ? session.stream : null;
  }

  start(sessionId: string): Stream {
    const session = this.#take(sessionId);
    this.heardOf({ sessionId });
    session.hasStarted = true;
    session.stream = { ...session.stream, status: "live" };
    return session.stream;
  }

  report(sessionId: string, figures: ReportedFigures): void {
    const session = this.#take(sessionId);
    this.heardOf({ sessionId });
    session.figures = mergeFigures(session.figures, figures);
  }

  end(sessionId: string, reason: string): Stream {
    const session = this.#take(sessionId);
    session.endReason = reason;
    this.letGo({ sessionId });
    if (!session.hasStarted) this.#sessions.delete(sessionId);
    return { ...session.stream, status: session.hasStarted ? "reconnecting" : session.stream.status };
  }

  /** The id of the provisional session of a connection; null where it has none. */
  findByConnection(server: string, { connectionId }: PublishedConnection): string | null {
    let latest: string | null = null;
    for (const [sessionId, { claim, endReason }] of this.#sessions) {
      if (claim.server === server && claim.connection === connectionId && endReason === null) latest = sessionId;
    }
    return latest;
  }

  /** An end that could not be written. */
  keepEnd(at: ConnectionOnServer, reason: string): void {
    this.#ends.push({ at, reason });
    if (this.#ends.length > MAX_WAITING) this.#ends.shift();
    this.#scheduleReconcile();
  }

  stop(): void {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Writes what waits, ends first: an encoder that came back finds its stream free. Never rejects. */
  async reconcile(): Promise<void> {
    if (this.#isReconciling) return;
    this.#isReconciling = true;
    try {
      for (const end of [...this.#ends]) {
        const isDone = await this.#attempt(() => this.#parts.store.endConnection(end.at, end.reason));
        if (isDone) this.#ends = this.#ends.filter((other) => other !== end);
      }
      for (const session of [...this.#sessions.values()].sort((a, b) => a.admittedAt - b.admittedAt)) {
        const isDone = await this.#attempt(() => this.#write(session));
        if (isDone) this.#sessions.delete(session.claim.sessionId);
      }
    } catch (error) {
      this.#parts.logger.debug({ err: error }, "what was admitted while the database was away still waits");
    }
    this.#isReconciling = false;
    if (this.#ends.length > 0 || this.#sessions.size > 0) this.#scheduleReconcile();
  }

  /** Whether it need not be tried again. One that cannot be written keeps no other from it. @throws when the connection is gone */
  async #attempt(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (isConnectionError(error)) throw error;
      if (isAway(error)) return false;
      this.#parts.logger.error({ err: error }, "what came while the database was away cannot be written; it is let go");
      return true;
    }
  }

  async #write(session: ProvisionalSession): Promise<void> {
    const { claim, admittedAt, hasStarted } = session;
    const { store, logger } = this.#parts;
    const result = await store.claim({
      ...claim,
      starts: hasStarted,
      admittedAt,
      mayOust: "any",
    });
    if (!result.valid) {
      logger.warn({ streamId: claim.streamId, reason: result.reason }, "a session of the outage lost its stream");
      this.#lose(session, result.reason === "unknown" ? "revoked" : result.reason);
      return;
    }
    await this.#writeRest(session, hasStarted);
  }

  /** Its media server may say more while this is written: it is let go only when there is nothing left to write. */
  async #writeRest(session: ProvisionalSession, isStarted: boolean): Promise<void> {
    const { claim } = session;
    const { store } = this.#parts;
    const at = { server: claim.server, connection: claim.connection, keyHash: claim.keyHash };
    if (session.hasStarted && !isStarted) {
      await store.start({ server: claim.server, boot: claim.boot ?? "" }, claim.sessionId, claim.leaseSeconds);
    }
    for (let { figures } = session; figures !== null && session.hasStarted; figures = session.figures) {
      await store.reportConnection(at, figures, claim.leaseSeconds);
      if (session.figures === figures) session.figures = null;
    }
    if (session.endReason !== null) await store.endConnection(at, session.endReason);
    else if (session.hasStarted && !isStarted) await this.#writeRest(session, true);
    else this.#sessions.delete(claim.sessionId);
  }

  #lose({ claim, endReason }: ProvisionalSession, reason: DropReason): void {
    const { server, boot, connection, sessionId } = claim;
    this.letGo({ sessionId });
    if (endReason === null) this.#parts.onDrop({ server, boot: boot ?? "", connection, sessionId, reason });
  }

  #take(sessionId: string): ProvisionalSession {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) throw new Error("a session that is not provisional was taken for one");
    return session;
  }

  #scheduleReconcile(): void {
    if (this.#timer !== null || this.#isStopped) return;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      void this.reconcile(); // never rejects
    }, RETRY_MS).unref();
  }
}

function toVerdict({ claim, stream, lifetimeMs }: ProvisionalSession): Verdict {
  return { valid: true, sessionId: claim.sessionId, stream, lifetimeMs: Math.ceil(lifetimeMs) };
}
