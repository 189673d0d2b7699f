import { z } from "zod";
import { ERRORS, type ErrorCode } from "../errors.ts";
import { doc } from "./doc.ts";

/*
 * The schemas of errors on the wire, for the documents that describe it. errors.ts makes the errors.
 */

export const WireErrorCode = z
  .enum(Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]])
  .meta(doc("What went wrong; docs/errors.md says what to do about each code.", "bad_request"));

export const EXAMPLE_ISSUE = { path: "position", message: "Too small: expected number to be >=0" };

export const retryAfterMs = z
  .number()
  .optional()
  .meta(doc("A repeat makes sense after so many milliseconds; absent where it is not known.", 500));

export const issues = z
  .array(
    z.object({
      path: z.string().meta(doc("The wrong field, with dots between its levels.", EXAMPLE_ISSUE.path)),
      message: z.string().meta(doc("What was expected there.", EXAMPLE_ISSUE.message)),
    }),
  )
  .optional()
  .meta(doc("The mistakes in the payload, eight at most.", [EXAMPLE_ISSUE]));

export const WireError = z
  .object({
    code: WireErrorCode,
    message: z.string().meta(doc("What was wrong, for people.", `${EXAMPLE_ISSUE.path}: ${EXAMPLE_ISSUE.message}`)),
    retryAfterMs,
    issues,
  })
  .meta({ id: "Error", ...doc("Why a call was refused.") });
