import { z } from "zod";
import { Id } from "./ids.ts";

/*
 * xAPI (https://github.com/adlnet/xAPI-Spec/blob/1.0.3/xAPI-Data.md): statements by the Video Profile, and the questions for
 * them. `GET /v1/xapi/statements` takes the parameters that the specification gives to the statements of a store, as far as
 * Playhead has an index for them.
 */

/** The version that is named in `X-Experience-API-Version`. */
export const XAPI_VERSION = "1.0.3";

/** The verbs that are stated, and their IRIs. */
export const XAPI_VERBS = {
  initialized: "http://adlnet.gov/expapi/verbs/initialized",
  completed: "http://adlnet.gov/expapi/verbs/completed",
  paused: "https://w3id.org/xapi/video/verbs/paused",
  terminated: "http://adlnet.gov/expapi/verbs/terminated",
} as const;
export type XapiVerb = keyof typeof XAPI_VERBS;

const Activity = z.object({
  objectType: z.literal("Activity").optional(),
  id: z.string(),
  definition: z.object({ type: z.string(), name: z.record(z.string(), z.string()).optional() }).optional(),
});
const Extensions = z.record(z.string(), z.union([z.string(), z.number()]));

/** A statement. On `GET` it says when it was stored too. */
export const XapiStatement = z.object({
  id: z.string(),
  actor: z.object({
    objectType: z.literal("Agent"),
    account: z.object({ homePage: z.string(), name: z.string() }),
  }),
  verb: z.object({ id: z.string(), display: z.record(z.string(), z.string()) }),
  object: Activity,
  result: z
    .object({
      completion: z.boolean().optional(),
      duration: z.string().optional(),
      extensions: Extensions,
    })
    .optional(),
  context: z.object({
    registration: z.string(),
    platform: z.string(),
    contextActivities: z.object({
      category: z.array(Activity),
      parent: z.array(Activity),
      grouping: z.array(Activity),
    }),
    extensions: Extensions,
  }),
  timestamp: z.string(),
  stored: z.string().optional(),
});
export type XapiStatement = z.infer<typeof XapiStatement>;

/** A page. `more` is the address of the next one; empty on the last. */
export const XapiStatements = z.object({ statements: z.array(XapiStatement), more: z.string() });
export type XapiStatements = z.infer<typeof XapiStatements>;

const Time = z.iso.datetime({ offset: true, error: "expected a time such as 2026-11-01T10:00:00Z" });

const Account = z.object({ account: z.object({ homePage: z.string(), name: Id }) });

/** An agent as JSON, or a user's id. An agent that is no account, such as an address of mail, is nobody here. */
const Agent = z
  .string()
  .max(2000)
  .transform((text, context): { name: string; homePage: string | null } => {
    const json = text.startsWith("{") ? parseJson(text) : undefined;
    if (json !== undefined) return Account.safeParse(json).data?.account ?? { name: "", homePage: null };
    const id = Id.safeParse(text);
    if (id.success && !text.startsWith("{")) return { name: id.data, homePage: null };
    context.addIssue({ code: "custom", message: "expected an agent as JSON, or a user's id" });
    return z.NEVER;
  });

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Which statements to list: the newest first, unless `ascending` says otherwise. */
export const XapiQuestion = z.object({
  statementId: z.uuid().optional(),
  agent: Agent.optional(),
  verb: z.string().max(2000).optional(),
  activity: z.string().max(2000).optional(),
  since: Time.optional(),
  until: Time.optional(),
  ascending: z
    .enum(["true", "false"])
    .transform((text) => text === "true")
    .optional(),
  /** 0 asks for as many as there may be. */
  limit: z.coerce.number().int().min(0).max(500).default(100),
  cursor: z
    .string()
    .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z_\d{1,18}$/, { error: "expected the cursor of an earlier answer" })
    .optional(),
});
export type XapiQuestion = z.infer<typeof XapiQuestion>;

/** A statement that the learning record store has refused. */
export const RefusedStatement = z.object({ statement: XapiStatement, refusedAt: z.string(), error: z.string() });
export const RefusedStatements = z.object({ refused: z.array(RefusedStatement), next: z.string().optional() });
export type RefusedStatements = z.infer<typeof RefusedStatements>;
