import type pg from "pg";
import { OUTCOME_UNKNOWN } from "./sqlstate.ts";

/*
 * A COMMIT may succeed with a warning: PostgreSQL committed here, but gave up waiting for its synchronous standby
 * (somebody cancelled the statement). If the standby takes over, the transaction is gone. So nobody may be told that it
 * is durable.
 */

/** PostgreSQL committed with a warning: the transaction is visible now, and may be lost in a failover. */
export class UnconfirmedCommit extends Error {
  readonly code = OUTCOME_UNKNOWN;

  constructor(warning: Notice) {
    super(`PostgreSQL committed, but warned: ${warning.message ?? warning.code}`);
    this.name = "UnconfirmedCommit";
  }
}

/**
 * COMMIT gave up waiting for another commit that notifies: perhaps that one waits for the synchronous standby. Nothing is
 * written, and nothing in the transaction is to blame.
 */
export class CommitHeldBack extends Error {
  readonly code = "40001";

  constructor(cause: unknown) {
    super("The commit gave up waiting for another commit that notifies", { cause });
    this.name = "CommitHeldBack";
  }
}

interface Notice {
  code: string | undefined;
  message: string | undefined;
}

/** The class of notices that warn of nothing. */
const SUCCESS = "00";

/**
 * Runs the COMMIT, and fails where PostgreSQL warned meanwhile.
 * @param isCommitting whether the statements before the COMMIT are answered: their warnings do not count
 * @throws UnconfirmedCommit; the error of the commit
 */
export async function confirmCommit<T>(
  client: pg.ClientBase,
  commit: () => Promise<T>,
  isCommitting: () => boolean = () => true,
): Promise<T> {
  let warning: Notice | undefined;
  const hear = (notice: Notice) => {
    if (isCommitting() && notice.code?.startsWith(SUCCESS) !== true) warning ??= notice;
  };
  client.on("notice", hear);
  try {
    const result = await commit();
    if (warning !== undefined) throw new UnconfirmedCommit(warning);
    return result;
  } finally {
    client.off("notice", hear);
  }
}
