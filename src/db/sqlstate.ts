/** The SQLSTATE of a PostgreSQL error; undefined for any other. */
export function sqlStateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

const READ_ONLY = "25006";
/** statement_completion_unknown: also the state of `UnconfirmedCommit`. */
export const OUTCOME_UNKNOWN = "40003";

const TRANSIENT_STATES = new Set([
  "40001", // serialization_failure
  OUTCOME_UNKNOWN,
  "40P01", // deadlock_detected
  "55P03", // lock_not_available
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now
  "25P03", // idle_in_transaction_session_timeout
  READ_ONLY, // read_only_sql_transaction: a standby, or a provider that stopped writes because the disk is full
  "58030", // io_error
]);

/** Connections, and what the server has too little of: disk, memory, connections. */
const TRANSIENT_CLASSES = new Set(["08", "53"]);

const INTERNAL_ERROR = "XX000";
/**
 * PostgreSQL's source files that read and write its files. PostgreSQL has no state of its own for many faults of a disk
 * (a quota, a limit of a file's size): they are internal errors that were raised in one of these files.
 */
const STORAGE_SOURCES = new Set([
  "md.c",
  "smgr.c",
  "fd.c",
  "bufmgr.c",
  "bulk_write.c",
  "buffile.c",
  "slru.c",
  "xlog.c",
  "freespace.c",
]);

const NETWORK_CODES = new Set([
  "ECONNREFUSED",
  "ECONNRESET",
  "ECONNABORTED",
  "EPIPE",
  "ETIMEDOUT",
  "EHOSTUNREACH",
  "ENETUNREACH",
  "ENOTFOUND",
  "EAI_AGAIN",
  "EMFILE", // this process is out of file descriptors
  "ENFILE", // this machine is
]);

/** Messages of `pg` for a connection that broke or could not be opened. `pg` gives these errors no code. */
const CONNECTION_TEXTS =
  /^(Connection terminated|Client has encountered a connection error|timeout expired|timeout exceeded when trying to connect|Query read timeout)/;

/**
 * Whether the same work may succeed on a second try: it met a conflict with another transaction, or a database that is
 * away for now. The first try may have taken effect all the same, so only work that may be done twice may be repeated.
 */
export function isTransient(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state !== undefined && (TRANSIENT_STATES.has(state) || TRANSIENT_CLASSES.has(state.slice(0, 2)))) {
    return true;
  }
  return isConnectionError(error) || isStorageFault(error);
}

/** Whether the database is there and cannot store anything for now: no disk, no memory, or it is read-only. */
export function isStorageFault(error: unknown): boolean {
  const state = sqlStateOf(error);
  if (state === INTERNAL_ERROR) return STORAGE_SOURCES.has((error as { file?: string }).file ?? "");
  return state === READ_ONLY || state === "58030" || (state?.startsWith("53") === true && state !== "53300");
}

/**
 * Whether the connection failed, not the statement. A connection on which nothing can be written counts as failed: a
 * connection to a standby stays there for good, while the database's address leads to the primary again.
 */
export function isConnectionError(error: unknown): boolean {
  if (!(error instanceof Error)) {
    return false;
  }
  if (error instanceof AggregateError && error.errors.length > 0) {
    // Node tries every address of a host name, and reports one error for each.
    return error.errors.every(isConnectionError);
  }
  const state = sqlStateOf(error);
  if (state !== undefined && !NETWORK_CODES.has(state)) {
    return state.startsWith("08") || state.startsWith("57P0") || state === "25P03" || state === READ_ONLY;
  }
  return NETWORK_CODES.has((error as NodeJS.ErrnoException).code ?? "") || CONNECTION_TEXTS.test(error.message);
}

const LOCK_NOT_AVAILABLE = "55P03";
const QUERY_CANCELED = "57014";

/** Whether a statement gave up waiting for a lock, or took longer than it may. */
export function isRowLocked(error: unknown): boolean {
  const state = sqlStateOf(error);
  return state === LOCK_NOT_AVAILABLE || state === QUERY_CANCELED;
}
