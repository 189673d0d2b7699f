import { isConnectionError } from "../../db/sqlstate.ts";
import type { Logger } from "../../logger.ts";
import type { DropReason } from "../../protocol/stream.ts";
import { isAway } from "../answer-deadline.ts";
import type { ConnectionOnServer } from "../sessions/session-read-sql.ts";
import type { SessionStore } from "../sessions/session-store.ts";
import type { Claim, ClaimResult } from "./claim.ts";
import type { ProvisionalSession } from "./provisional-sessions.ts";

/** An encoder's end that could not be written. */
export interface WaitingEnd {
  at: ConnectionOnServer;
  reason: string;
}

export interface OutageWriterParts {
  claim: (claim: Claim) => Promise<ClaimResult>;
  store: Pick<SessionStore, "start" | "reportConnection" | "endConnection">;
  logger: Logger;
  /** The session is written as it is now. Called in the same turn as the last look at it, so no report can be missed in between. */
  onWritten: (session: ProvisionalSession) => void;
  /** The session lost its stream to an earlier one, or its key is not good any more. */
  onLost: (session: ProvisionalSession, reason: DropReason) => void;
}

/** Writes, once the database is back, what happened while it was away. */
export class OutageWriter {
  readonly #parts: OutageWriterParts;

  constructor(parts: OutageWriterParts) {
    this.#parts = parts;
  }

  /** @returns whether it is dealt with; false: try again later. @throws the database's error where the connection is gone */
  writeEnd({ at, reason }: WaitingEnd): Promise<boolean> {
    return this.#attempt(() => this.#parts.store.endConnection(at, reason));
  }

  /** Writes the session as of its admission. Returns and throws as `writeEnd`. */
  writeSession(session: ProvisionalSession): Promise<boolean> {
    return this.#attempt(async () => {
      const { claim, admittedAt, hasStarted, endReason } = session;
      const mayOust = endReason === null ? "any" : "nobody";
      const result = await this.#parts.claim({ ...claim, starts: hasStarted, admittedAt, mayOust });
      if (result.valid) return this.#writeRest(session, hasStarted);
      const { streamId } = claim;
      this.#parts.logger.warn({ streamId, reason: result.reason }, "a session of the outage lost its stream");
      this.#parts.onLost(session, result.reason === "unknown" ? "revoked" : result.reason);
    });
  }

  /** The media server may report more during the writes, so this goes on until nothing is left to write. */
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
    else this.#parts.onWritten(session);
  }

  /** A session that cannot be written is given up, so that it does not keep others from being written. */
  async #attempt(work: () => Promise<void>): Promise<boolean> {
    try {
      await work();
      return true;
    } catch (error) {
      if (isConnectionError(error)) throw error;
      if (isAway(error)) return false;
      this.#parts.logger.error(
        { err: error },
        "a session or an end from the time without a database cannot be written; it is given up",
      );
      return true;
    }
  }
}
