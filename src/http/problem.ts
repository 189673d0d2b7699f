import { HTTPException } from "hono/http-exception";
import { z } from "zod";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError, ERRORS, toWireError } from "../errors.ts";
import { doc } from "../protocol/doc.ts";
import { EXAMPLE_ISSUE, issues, retryAfterMs, WireErrorCode } from "../protocol/wire-error.ts";

/** An error over HTTP: a problem document (RFC 9457), with the same code as on the socket. */
export const Problem = z
  .object({
    type: z.string().meta(doc("A URN of the code.", "urn:playhead:error:bad_request")),
    title: z.string().meta(doc("What the code means, in a few words.", ERRORS.bad_request.title)),
    status: z.number().meta(doc("The status of the answer.", 400)),
    detail: z
      .string()
      .meta(doc("What was wrong, and what was expected.", `${EXAMPLE_ISSUE.path}: ${EXAMPLE_ISSUE.message}`)),
    code: WireErrorCode,
    retryAfterMs,
    issues,
  })
  .meta({ id: "Problem", ...doc("An error (RFC 9457), with the same code as on the socket.") });
export type Problem = z.infer<typeof Problem>;

/** Makes a problem document of a thrown value. It says no more than the error on the socket. */
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

/** Makes the response with the problem, and the headers that its status needs. */
export function toProblemResponse(error: unknown, headers: Record<string, string> = {}): Response {
  const problem = toProblem(error);
  const all = new Headers({ "content-type": "application/problem+json", "cache-control": "no-store", ...headers });
  if (problem.status === 401) all.set("www-authenticate", 'Bearer realm="playhead"');
  if (problem.retryAfterMs !== undefined) all.set("retry-after", String(Math.ceil(problem.retryAfterMs / 1000)));
  return new Response(JSON.stringify(problem), { status: problem.status, headers: all });
}

/** Makes an AppError of an error that Hono or the database driver threw. Everything else is returned as it is. */
export function toAppError(error: unknown): unknown {
  if (error instanceof HTTPException) {
    const message =
      error.status === 415
        ? "This call does not take a body of this type: send JSON, with `content-type: application/json`."
        : `${error.message}.`;
    return new AppError("bad_request", message, { status: error.status, cause: error });
  }
  return toUnavailable(error);
}
