/*
 * Every failure that a caller can meet, in one table. The ack of a socket and the HTTP problem document carry the same
 * `code`. A published code never gets another meaning. docs/errors.md explains each code; a test compares the two.
 */

/** The level at which a failure is logged. A client's mistake must never alarm an operator. */
export type FailureLevel = "debug" | "warn" | "error";

export const ERRORS = {
  bad_request: { status: 400, level: "debug", title: "The request is not what this call takes" },
  unauthenticated: { status: 401, level: "debug", title: "No valid token came with the request" },
  forbidden: { status: 403, level: "debug", title: "The caller may not do this" },
  not_found: { status: 404, level: "debug", title: "There is nothing under this name" },
  unknown_file: { status: 404, level: "debug", title: "The catalogue knows no file of this id" },
  conflict: { status: 409, level: "debug", title: "The request contradicts what is stored" },
  rate_limited: { status: 429, level: "debug", title: "Too many calls" },
  overloaded: { status: 503, level: "warn", title: "More heartbeats are waiting than the server holds" },
  unavailable: { status: 503, level: "warn", title: "A part that the server needs is away" },
  internal: { status: 500, level: "error", title: "Something went wrong inside the server" },
} as const satisfies Record<string, { status: number; level: FailureLevel; title: string }>;

export type ErrorCode = keyof typeof ERRORS;

/** One mistake in a payload: its place, and what was expected there. */
export interface Issue {
  path: string;
  message: string;
}

export interface AppErrorOptions {
  /** A repeat makes sense after so many milliseconds. */
  retryAfterMs?: number;
  issues?: Issue[];
  /** An HTTP status that is more exact than the code's own, such as 412 or 413. */
  status?: number;
  cause?: unknown;
}

/** A failure whose message may be shown to the caller. Every other error becomes `internal` on the wire. */
export class AppError extends Error {
  readonly code: ErrorCode;
  readonly retryAfterMs: number | undefined;
  readonly issues: Issue[] | undefined;
  readonly status: number;

  constructor(code: ErrorCode, message: string, options: AppErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "AppError";
    this.code = code;
    this.retryAfterMs = options.retryAfterMs;
    this.issues = options.issues;
    this.status = options.status ?? ERRORS[code].status;
  }
}

/** An error as it goes over the wire, in an ack or in a problem document. */
export interface WireError {
  code: ErrorCode;
  message: string;
  retryAfterMs?: number;
  issues?: Issue[];
}

/** Makes of a thrown value the error that a client may see: never a stack, never the text of an unknown error. */
export function toWireError(error: unknown): WireError {
  if (!(error instanceof AppError)) {
    return { code: "internal", message: `${ERRORS.internal.title}; the server's log has the details.` };
  }
  return {
    code: error.code,
    message: error.message,
    ...(error.retryAfterMs === undefined ? {} : { retryAfterMs: Math.ceil(error.retryAfterMs) }),
    ...(error.issues === undefined ? {} : { issues: error.issues }),
  };
}
