import type { Logger } from "../logger.ts";
import type { DropReason, Stream, Verdict } from "../protocol/stream.ts";
import { refusalOf } from "./claim-decision.ts";
import type { KnownKey } from "./key-cache.ts";
import type { PublishedConnection } from "./publish-gate.ts";
import type { Claim, ConnectionOnServer, Drop, ReportedFigures, SessionStore } from "./session-store.ts";

/*
 * Sessions while the database is away. A key that is known is admitted, provisionally: the session lives here until
 * the database is back, is written then as of the time it was admitted, and goes if somebody else was earlier.
 * Nothing else is decided here, and what was live before goes on.
 */

const RETRY_MS = 1000;

interface ProvisionalSession {
  claim: Claim;
  /** Monotonic. */
  admittedAt: number;
  stream: Stream;
  hasStarted: boolean;
  figures: ReportedFigures | null;
  endReason: string | null;
}

/** Who holds a stream, as far as this process knows. */
interface Holder {
  server: string;
  connection: string;
  /** Monotonic; a holder that was not heard of for longer than its lease holds nothing. */
  heardAt: number;
  leaseMs: number;
}

export interface OutageParts {
  store: SessionStore;
  logger: Logger;
  /** Of a provisional session that lost its stream. */
  onDrop: (drop: Drop) => void;
}

export class Outage {
  readonly #parts: OutageParts;
  readonly #sessions = new Map<string, ProvisionalSession>();
  /** Ends that could not be written. */
  #ends: { at: ConnectionOnServer; reason: string }[] = [];
  readonly #holders = new Map<string, Holder>();
  #timer: NodeJS.Timeout | null = null;
  #isReconciling = false;

  constructor(parts: OutageParts) {
    this.#parts = parts;
  }

  /** Remembered for as long as the process knows of it: the first one wins in an outage, too. */
  holds(streamId: string, { server, connection, leaseSeconds }: Pick<Claim, "server" | "connection" | "leaseSeconds">) {
    this.#holders.set(streamId, { server, connection, heardAt: performance.now(), leaseMs: leaseSeconds * 1000 });
  }

  heardOf(streamId: string): void {
    const holder = this.#holders.get(streamId);
    if (holder !== undefined) holder.heardAt = performance.now();
  }

  letGo(streamId: string): void {
    this.#holders.delete(streamId);
  }

  /** Admits a known key. */
  admit(known: KnownKey, claim: Claim): Verdict {
    const { stream, policy, goodUntil } = known;
    const now = Date.now();
    if (goodUntil !== null && goodUntil.getTime() <= now) return { valid: false, reason: "unknown" };
    const expiresInMs = stream.expiresAt === null ? 0 : Date.parse(stream.expiresAt) - now;
    const refusal = refusalOf({ status: stream.status, isExpired: expiresInMs < 0 });
    if (refusal !== null) return { valid: false, reason: refusal };
    if (policy === "first_wins" && this.#isHeldByAnother(stream.id, claim))
      return { valid: false, reason: "already_live" };
    const provisional: ProvisionalSession = {
      claim,
      admittedAt: performance.now(),
      stream: claim.starts ? { ...stream, status: "live" } : stream,
      hasStarted: claim.starts,
      figures: null,
      endReason: null,
    };
    this.#sessions.set(claim.sessionId, provisional);
    this.holds(stream.id, claim);
    this.#scheduleReconcile();
    return { valid: true, sessionId: claim.sessionId, stream: provisional.stream, lifetimeMs: Math.ceil(expiresInMs) };
  }

  /** The stream of a provisional session of this server; null where it is none. */
  find(owner: { server: string; boot: string | null }, sessionId: string): Stream | null {
    const session = this.#sessions.get(sessionId);
    if (session?.claim.server !== owner.server || session.claim.boot !== owner.boot) return null;
    return session.endReason === null ? session.stream : null;
  }

  start(sessionId: string): Stream {
    const session = this.#take(sessionId);
    session.hasStarted = true;
    session.stream = { ...session.stream, status: "live" };
    return session.stream;
  }

  report(sessionId: string, figures: ReportedFigures): void {
    this.#take(sessionId).figures = figures;
  }

  end(sessionId: string, reason: string): Stream {
    const session = this.#take(sessionId);
    session.endReason = reason;
    this.letGo(session.claim.streamId);
    if (!session.hasStarted) this.#sessions.delete(sessionId);
    return { ...session.stream, status: session.hasStarted ? "reconnecting" : session.stream.status };
  }

  /** The id of the provisional session of a connection; null where it has none. */
  findByConnection(server: string, { connectionId }: PublishedConnection): string | null {
    for (const [sessionId, { claim, endReason }] of this.#sessions) {
      if (claim.server === server && claim.connection === connectionId && endReason === null) return sessionId;
    }
    return null;
  }

  /** An end that could not be written. */
  keepEnd(at: ConnectionOnServer, reason: string): void {
    if (at.streamId !== null) this.letGo(at.streamId);
    this.#ends.push({ at, reason });
    this.#scheduleReconcile();
  }

  stop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
  }

  /** Writes what waits, ends first: an encoder that came back finds its stream free. */
  async reconcile(): Promise<void> {
    if (this.#isReconciling) return;
    this.#isReconciling = true;
    try {
      for (let next = this.#ends[0]; next !== undefined; next = this.#ends[0]) {
        await this.#parts.store.endConnection(next.at, next.reason);
        this.#ends.shift();
      }
      for (const session of [...this.#sessions.values()].sort((a, b) => a.admittedAt - b.admittedAt)) {
        await this.#write(session);
        this.#sessions.delete(session.claim.sessionId);
      }
    } catch (error) {
      this.#parts.logger.debug({ err: error }, "what was admitted while the database was away still waits");
      this.#scheduleReconcile();
    }
    this.#isReconciling = false;
  }

  async #write(session: ProvisionalSession): Promise<void> {
    const { claim, admittedAt, hasStarted } = session;
    const { store, logger, onDrop } = this.#parts;
    const result = await store.claim({
      ...claim,
      starts: hasStarted,
      admittedMsAgo: performance.now() - admittedAt,
      mayOust: "any",
    });
    if (!result.valid) {
      logger.warn({ streamId: claim.streamId, reason: result.reason }, "a session of the outage lost its stream");
      const reason: DropReason = result.reason === "unknown" ? "revoked" : result.reason;
      const { server, connection, sessionId } = claim;
      if (session.endReason === null) onDrop({ server, boot: claim.boot ?? "", connection, sessionId, reason });
      return;
    }
    // Its media server may have said more while that was written.
    const owner = { server: claim.server, connection: claim.connection, streamId: claim.streamId };
    if (session.figures !== null) await store.reportConnection(owner, session.figures, claim.leaseSeconds);
    if (session.endReason !== null) await store.endConnection(owner, session.endReason);
  }

  #take(sessionId: string): ProvisionalSession {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) throw new Error("a session that is not provisional was taken for one");
    return session;
  }

  #isHeldByAnother(streamId: string, claim: Claim): boolean {
    const holder = this.#holders.get(streamId);
    if (holder === undefined || performance.now() - holder.heardAt > holder.leaseMs) return false;
    return holder.server !== claim.server || holder.connection !== claim.connection;
  }

  #scheduleReconcile(): void {
    if (this.#timer !== null) clearTimeout(this.#timer);
    this.#timer = setTimeout(() => void this.reconcile(), RETRY_MS).unref(); // never rejects
  }
}
