import { ERRORS, type ErrorCode, type Issue, toWireError } from "../errors.ts";
import { AppError } from "../errors.ts";

/** An error as HTTP says it: RFC 9457, with the code that the sockets use. */
export interface Problem {
  type: string;
  title: string;
  status: number;
  detail: string;
  code: ErrorCode;
  retryAfterMs?: number;
  issues?: Issue[];
}

/** Turns whatever was thrown into a problem document, as little telling as the socket's error. */
export function toProblem(error: unknown): Problem {
  const { message, ...wire } = toWireError(error);
  return {
    type: `urn:playhead:error:${wire.code}`,
    title: ERRORS[wire.code].title,
    status: error instanceof AppError ? error.status : ERRORS[wire.code].status,
    detail: message,
    ...wire,
  };
}
