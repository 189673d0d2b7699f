import type { Stream } from "../../protocol/stream.ts";
import type { ReportedFigures } from "../sessions/reported-figures.ts";
import type { Claim } from "./claim.ts";

/** A session that was admitted while the database is away. It lives in this process until it is written. */
export interface ProvisionalSession {
  /** Without the caller's signal: it is written although its caller has given up waiting. */
  claim: Omit<Claim, "signal">;
  /** By `performance.now()`. */
  admittedAt: number;
  stream: Stream;
  lifetimeMs: number;
  hasStarted: boolean;
  /** Reports that are not written yet, merged into one. */
  figures: ReportedFigures | null;
  endReason: string | null;
}

/** Provisional sessions by id and by connection. */
export class ProvisionalSessions {
  readonly #byId = new Map<string, ProvisionalSession>();
  /** By media server and connection id, in the order of admission. */
  readonly #byConnection = new Map<string, Set<ProvisionalSession>>();

  get size(): number {
    return this.#byId.size;
  }

  add(session: ProvisionalSession): void {
    this.#byId.set(session.claim.sessionId, session);
    const name = nameOf(session.claim);
    const others = this.#byConnection.get(name);
    if (others === undefined) this.#byConnection.set(name, new Set([session]));
    else others.add(session);
  }

  get(sessionId: string): ProvisionalSession | undefined {
    return this.#byId.get(sessionId);
  }

  delete(session: ProvisionalSession): void {
    this.#byId.delete(session.claim.sessionId);
    const name = nameOf(session.claim);
    const others = this.#byConnection.get(name);
    others?.delete(session);
    if (others?.size === 0) this.#byConnection.delete(name);
  }

  /** The sessions of a connection that have not ended, in the order of admission. */
  ofConnection(at: Pick<Claim, "server" | "connection">): ProvisionalSession[] {
    if (this.#byId.size === 0) return [];
    return [...(this.#byConnection.get(nameOf(at)) ?? [])].filter(({ endReason }) => endReason === null);
  }

  inOrderOfAdmission(): ProvisionalSession[] {
    return [...this.#byId.values()].sort((a, b) => a.admittedAt - b.admittedAt);
  }
}

function nameOf({ server, connection }: Pick<Claim, "server" | "connection">): string {
  return `${server}\u0000${connection}`;
}
