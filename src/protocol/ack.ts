import type { z } from "zod";
import { AppError, type Issue, type WireError } from "../errors.ts";

/** Every call's answer: the call's own fields beside `ok: true`, or the error. */
export type Ack<T extends object = object> = ({ ok: true } & T) | { ok: false; error: WireError };

/** At most this many issues go back to a caller: 1,000 bad ranges need not be listed. */
const MAX_ISSUES = 8;

/**
 * Parses what came from outside.
 * @throws AppError `bad_request`, with what was wrong where.
 */
export function parseWire<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw toBadRequest(result.error);
}

/** What a schema found wrong, as the caller is told. */
export function toBadRequest(error: z.core.$ZodError): AppError {
  const issues: Issue[] = error.issues.slice(0, MAX_ISSUES).map((issue) => ({
    path: issue.path.map(String).join("."),
    message: issue.message,
  }));
  const [first] = issues;
  const where = first?.path ? `${first.path}: ` : "";
  return new AppError("bad_request", `${where}${first?.message ?? "the payload is malformed"}`, { issues });
}
