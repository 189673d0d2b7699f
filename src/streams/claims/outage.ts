import { AppError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { DropReason, Stream, Verdict } from "../../protocol/stream.ts";
import { DatabaseLate } from "../answer-deadline.ts";
import type { KnownKey } from "../keys/key-cache.ts";
import { refusalOf } from "../keys/key-refusal.ts";
import { mergeFigures, type ReportedFigures } from "../sessions/reported-figures.ts";
import type { SessionDrop } from "../sessions/session-drop.ts";
import type { ConnectionOnServer } from "../sessions/session-read-sql.ts";
import type { Claim } from "./claim.ts";
import { OutageWriter, type OutageWriterParts, type WaitingEnd } from "./outage-writer.ts";
import { type ProvisionalSession, ProvisionalSessions } from "./provisional-sessions.ts";
import { type Publisher, StreamHolders } from "./stream-holders.ts";

/*
 * Streams while the database is away. A cached key is admitted provisionally: its session lives in this process until
 * the database is back. Then it is written as of the time of its admission, and is dropped if another encoder was
 * earlier. Nothing else is decided here; sessions that were live before stay live.
 */

const RETRY_MS = 1000;
/** Past this number of sessions nobody is admitted; of ends, the oldest is left to its lease. */
const MAX_WAITING = 10_000;

export interface OutageParts extends Pick<OutageWriterParts, "claim" | "store"> {
  logger: Logger;
  /** A provisional session that still publishes has lost its stream. */
  onDrop: (drop: SessionDrop) => void;
}

export class Outage {
  readonly #parts: OutageParts;
  readonly #writer: OutageWriter;
  readonly #sessions = new ProvisionalSessions();
  readonly #holders = new StreamHolders();
  /** The oldest first. */
  #ends: WaitingEnd[] = [];
  #timer: NodeJS.Timeout | null = null;
  #reconciling: Promise<void> | null = null;
  /** Writes under way; they tell whether what was written is dealt with. */
  readonly #writing = new Map<WaitingEnd | ProvisionalSession, Promise<boolean>>();
  #isStopped = false;

  constructor(parts: OutageParts) {
    this.#parts = parts;
    this.#writer = new OutageWriter({
      ...parts,
      onWritten: (session) => this.#sessions.delete(session),
      onLost: (session, reason) => this.#lose(session, reason),
    });
  }

  /** This connection holds the stream. Told also while the database is there: an outage may begin at any moment. */
  holds(streamId: string, claim: Pick<Claim, "sessionId" | "server" | "connection" | "leaseSeconds">): void {
    this.#holders.put(streamId, claim);
  }

  /** The publisher has reported. */
  heardOf(publisher: Publisher): void {
    this.#holders.hear(publisher);
  }

  /** The publisher is gone. */
  letGo(publisher: Publisher): void {
    this.#holders.drop(publisher);
  }

  /** Decides a claim by the cached key. @throws AppError `unavailable` where too many sessions wait to be written */
  admit(known: KnownKey, { signal: _, ...claim }: Claim): Verdict {
    const { stream } = known;
    const again = this.again(stream.id, claim);
    if (again !== null) return again;
    const expiresInMs = stream.expiresAt === null ? null : Date.parse(stream.expiresAt) - Date.now();
    const reason = this.#refuse(known, claim, expiresInMs);
    if (reason !== null) return { valid: false, reason };
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
    this.#sessions.add(session);
    this.holds(stream.id, claim);
    this.#scheduleReconcile();
    return toVerdict(session);
  }

  #refuse({ stream, policy, goodUntil }: KnownKey, claim: Omit<Claim, "signal">, expiresInMs: number | null) {
    if (goodUntil !== null && goodUntil.getTime() <= Date.now()) return "unknown";
    const refusal = refusalOf({ status: stream.status, isExpired: expiresInMs !== null && expiresInMs <= 0 });
    if (refusal !== null) return refusal;
    const holder = this.#holders.find(stream.id);
    if (holder === null || (holder.server === claim.server && holder.connection === claim.connection)) return null;
    const mayOust = claim.mayOust === "any" || holder.server !== claim.server;
    return policy === "first_wins" || !mayOust ? "already_live" : null;
  }

  /** The earlier verdict for a connection that was admitted and asks again; null where it has no provisional session. */
  again(streamId: string, claim: Pick<Claim, "server" | "boot" | "connection">): Verdict | null {
    // Without a boot, the same connection id asking again is another connection, after a restart of the media server.
    if (claim.boot === null) return null;
    const sessions = this.#sessions.ofConnection(claim);
    const session = sessions.find((one) => one.claim.boot === claim.boot && one.claim.streamId === streamId);
    return session === undefined ? null : toVerdict(session);
  }

  /** The stream of a provisional session of this media server; null where the session is none. */
  find(owner: { server: string; boot: string | null }, sessionId: string): Stream | null {
    const session = this.#sessions.get(sessionId);
    if (session?.claim.server !== owner.server || session.claim.boot !== owner.boot) return null;
    return session.endReason === null ? session.stream : null;
  }

  /** The newest provisional session of a connection, by id; null where it has none. */
  findByConnection(server: string, connection: string): string | null {
    return this.#sessions.ofConnection({ server, connection }).at(-1)?.claim.sessionId ?? null;
  }

  /** The media of a provisional session flows. */
  start(sessionId: string): Stream {
    const session = this.#take(sessionId);
    this.heardOf({ sessionId });
    session.hasStarted = true;
    session.stream = { ...session.stream, status: "live" };
    return session.stream;
  }

  /** A report for a provisional session. */
  report(sessionId: string, figures: ReportedFigures): void {
    const session = this.#take(sessionId);
    this.heardOf({ sessionId });
    session.figures = mergeFigures(session.figures, figures);
  }

  /** The encoder of a provisional session is gone. A session that never started is forgotten. */
  end(sessionId: string, reason: string): Stream {
    const session = this.#take(sessionId);
    session.endReason = reason;
    this.letGo({ sessionId });
    if (!session.hasStarted) {
      this.#sessions.delete(session);
      // The database may have been only late, and hold a reservation of this connection.
      const { server, connection, keyHash } = session.claim;
      this.keepEnd({ server, connection, keyHash }, reason);
    }
    return { ...session.stream, status: session.hasStarted ? "reconnecting" : session.stream.status };
  }

  /** Keeps an end that could not be written, to write it later. */
  keepEnd(at: ConnectionOnServer, reason: string): void {
    this.#ends.push({ at, reason });
    if (this.#ends.length > MAX_WAITING) this.#ends.shift();
    this.#scheduleReconcile();
  }

  /**
   * Writes at once what waits of this stream, so that the next claim meets no session whose end was acked. Null where
   * nothing waits. @throws the database's error; DatabaseLate where it cannot be written now
   */
  settle(streamId: string, keyHash: string): Promise<void> | null {
    if (this.#ends.length === 0 && this.#sessions.size === 0) return null;
    // An end without a key may be of any stream.
    const ends = this.#ends.filter(({ at }) => at.keyHash === null || at.keyHash.toString("hex") === keyHash);
    const sessions = this.#sessions.inOrderOfAdmission().filter(({ claim }) => claim.streamId === streamId);
    if (ends.length === 0 && sessions.length === 0) return null;
    return this.#writeAll([...ends, ...sessions]).then((isDone) => {
      if (!isDone) throw new DatabaseLate();
    });
  }

  /** Resolves when nothing is being written any more. */
  async stop(): Promise<void> {
    this.#isStopped = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    await Promise.allSettled([this.#reconciling, ...this.#writing.values()]);
  }

  /** Writes everything that waits, ends first, so that an encoder that came back finds its stream free. Never rejects. */
  reconcile(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    this.#reconciling ??= this.#reconcile().finally(() => {
      this.#reconciling = null;
      if (this.#ends.length > 0 || this.#sessions.size > 0) this.#scheduleReconcile();
    });
    return this.#reconciling;
  }

  async #reconcile(): Promise<void> {
    try {
      await this.#writeAll(this.#ends);
      await this.#writeAll(this.#sessions.inOrderOfAdmission());
    } catch (error) {
      this.#parts.logger.debug({ err: error }, "sessions admitted while the database was away still wait");
    }
  }

  /** Writes one after the other what still waits. @returns whether all of it is dealt with. @throws as `OutageWriter.writeEnd` */
  async #writeAll(waiting: readonly (WaitingEnd | ProvisionalSession)[]): Promise<boolean> {
    let isDone = true;
    for (const one of waiting) {
      if (this.#isStopped) return false;
      if (this.#waits(one) && !(await this.#write(one))) isDone = false;
    }
    return isDone;
  }

  #waits(one: WaitingEnd | ProvisionalSession): boolean {
    return "at" in one ? this.#ends.includes(one) : this.#sessions.get(one.claim.sessionId) === one;
  }

  /** Whoever asks for a write that is under way shares it. */
  #write(one: WaitingEnd | ProvisionalSession): Promise<boolean> {
    const writing = this.#writing.get(one) ?? this.#writeNow(one).finally(() => this.#writing.delete(one));
    this.#writing.set(one, writing);
    return writing;
  }

  async #writeNow(one: WaitingEnd | ProvisionalSession): Promise<boolean> {
    const isDone = await ("at" in one ? this.#writer.writeEnd(one) : this.#writer.writeSession(one));
    if (!isDone) return false;
    if ("at" in one) this.#ends = this.#ends.filter((other) => other !== one);
    else this.#sessions.delete(one);
    return true;
  }

  #lose({ claim, endReason }: ProvisionalSession, reason: DropReason): void {
    const { server, boot, connection, sessionId } = claim;
    this.letGo({ sessionId });
    if (endReason === null) this.#parts.onDrop({ server, boot: boot ?? "", connection, sessionId, reason });
  }

  #take(sessionId: string): ProvisionalSession {
    const session = this.#sessions.get(sessionId);
    if (session === undefined) throw new Error(`the session ${sessionId} is not provisional`);
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
