/** The SQLSTATE of a PostgreSQL error; undefined for any other. */
export function sqlStateOf(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

const TRANSIENT_STATES = new Set([
  "40001", // serialization_failure
  "40P01", // deadlock_detected
  "55P03", // lock_not_available
  "57P01", // admin_shutdown
  "57P02", // crash_shutdown
  "57P03", // cannot_connect_now
  "53300", // too_many_connections
  "25P03", // idle_in_transaction_session_timeout
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
  if (state !== undefined && (TRANSIENT_STATES.has(state) || state.startsWith("08"))) {
    return true;
  }
  return isConnectionError(error);
}

/** Whether the connection failed, not the statement. */
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
    return state.startsWith("08") || state.startsWith("57P0") || state === "25P03";
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
