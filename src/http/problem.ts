import { HTTPException } from "hono/http-exception";
import { z } from "zod";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError, ERRORS, type ErrorCode, toWireError } from "../errors.ts";

/** An error as HTTP says it: RFC 9457, with the code that the sockets use. */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number(),
  detail: z.string(),
  code: z.enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]]),
  retryAfterMs: z.number().optional(),
  issues: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
});
export type Problem = z.infer<typeof Problem>;

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

/** The problem as a response, with the headers that its status asks for. */
export function toProblemResponse(error: unknown, headers: Record<string, string> = {}): Response {
  const problem = toProblem(error);
  const all = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store", ...headers });
  if (problem.status === 401) all.set("www-authenticate", 'Bearer realm="playhead"');
  if (problem.retryAfterMs !== undefined) all.set("retry-after", String(Math.ceil(problem.retryAfterMs / 1000)));
  return new Response(JSON.stringify(problem), { status: problem.status, headers: all });
}

/** Gives what Hono and the database driver throw the code it has here; everything else stays what it is. */
export function toAppError(error: unknown): unknown {
  if (error instanceof HTTPException) {
    const message =
      error.status === 415
        ? "The body is not of a type this call takes: send JSON, with `content-type: application/json`."
        : `${error.message}.`;
    return new AppError("bad_request", message, { status: error.status, cause: error });
  }
  return toUnavailable(error);
}
