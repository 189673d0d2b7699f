import type { z } from "zod";
import { AppError, type Issue } from "../errors.ts";

export type { Ack } from "./wire.ts";

/** A caller gets at most this many issues: 1,000 bad ranges need not be listed. */
const MAX_ISSUES = 8;

/**
 * Parses an input from outside.
 * @throws AppError `bad_request` that names the wrong fields
 */
export function parseWire<S extends z.ZodType>(schema: S, input: unknown): z.output<S> {
  const result = schema.safeParse(input);
  if (result.success) return result.data;
  throw toBadRequest(result.error);
}

/** The errors of a schema, as the caller gets them. */
export function toBadRequest(error: z.core.$ZodError): AppError {
  const issues: Issue[] = error.issues.slice(0, MAX_ISSUES).map((issue) => ({
    path: issue.path.map(String).join("."),
    message: issue.message,
  }));
  const [first] = issues;
  const where = first?.path ? `${first.path}: ` : "";
  return new AppError("bad_request", `${where}${first?.message ?? "the payload is malformed"}`, { issues });
}
