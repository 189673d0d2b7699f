import { z } from "zod";
import { doc } from "./doc.ts";
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

const EXAMPLE_BASE = "https://learn.example.org";
const VIDEO = "https://w3id.org/xapi/video";
export const EXAMPLE_STATEMENT_ID = "8f0c5d55-2b4e-4c57-9d8b-5a8f3a0c9b11";
const EXAMPLE_TIME = "2026-11-21T14:17:17.993Z";
export const EXAMPLE_STATEMENT_CURSOR = `${EXAMPLE_TIME}_4711`;

const iri = (description: string, example: string) => z.string().meta(doc(description, example));
const languages = (description: string, example: Record<string, string>) =>
  z.record(z.string(), z.string()).meta(doc(description, example));

const activity = (description: string, id: string, type: string) =>
  z
    .object({
      objectType: z.literal("Activity").optional().meta(doc("Always `Activity`.", "Activity")),
      id: iri("The IRI of the activity.", id),
      definition: z
        .object({
          type: iri("The type of the activity.", type),
          name: languages("The title, by language; `und` where that is not known.", { und: "The ocean" }).optional(),
        })
        .optional()
        .meta(doc("What the activity is.")),
    })
    .meta(doc(description));
const activities = (description: string, id: string, type: string) =>
  z.array(activity("An activity.", id, type)).meta(doc(description));
const extensions = (description: string, example: Record<string, string | number>) =>
  z.record(z.string(), z.union([z.string(), z.number()])).meta(doc(description, example));

/** A statement. On `GET` it says when it was stored too. */
export const XapiStatement = z
  .object({
    id: z.string().meta(doc("The id of the statement, a UUID that stays the same.", EXAMPLE_STATEMENT_ID)),
    actor: z
      .object({
        objectType: z.literal("Agent").meta(doc("Always `Agent`.", "Agent")),
        account: z
          .object({
            homePage: iri("Where the account is.", EXAMPLE_BASE),
            name: z.string().meta(doc("The user's id.", "bob")),
          })
          .meta(doc("The learner's account.")),
      })
      .meta(doc("The learner.")),
    verb: z
      .object({
        id: iri("The IRI of the verb.", XAPI_VERBS.completed),
        display: languages("The verb in words.", { en: "completed" }),
      })
      .meta(doc("What happened: `initialized`, `completed`, `paused` or `terminated`.")),
    object: activity("The file.", `${EXAMPLE_BASE}/files/demo-intro`, `${VIDEO}/activity-type/video`),
    result: z
      .object({
        completion: z.boolean().optional().meta(doc("Only with `completed`.", true)),
        duration: z.string().optional().meta(doc("The time spent, ISO 8601; only with `completed`.", "PT24.5S")),
        extensions: extensions("`time`, `progress` and `played-segments` of the Video Profile.", {
          [`${VIDEO}/extensions/time`]: 24,
          [`${VIDEO}/extensions/progress`]: 1,
          [`${VIDEO}/extensions/played-segments`]: "0.000[.]24.000",
        }),
      })
      .optional()
      .meta(doc("How far the learner was; absent with `initialized`.")),
    context: z
      .object({
        registration: z
          .string()
          .meta(doc("The user in the course, until a reset.", "1f6b1c1e-7a55-4d0c-8a4b-0d6a2f5b7c3e")),
        platform: z.string().meta(doc("Always `Playhead`.", "Playhead")),
        contextActivities: z
          .object({
            category: activities("The Video Profile.", VIDEO, "http://adlnet.gov/expapi/activities/profile"),
            parent: activities(
              "The lesson.",
              `${EXAMPLE_BASE}/lessons/demo-start`,
              "http://adlnet.gov/expapi/activities/lesson",
            ),
            grouping: activities(
              "The course.",
              `${EXAMPLE_BASE}/courses/demo`,
              "http://adlnet.gov/expapi/activities/course",
            ),
          })
          .meta(doc("What the file belongs to.")),
        extensions: extensions("`length`, `completion-threshold` and `session-id` of the Video Profile.", {
          [`${VIDEO}/extensions/length`]: 24,
          [`${VIDEO}/extensions/completion-threshold`]: 0.9,
          [`${VIDEO}/extensions/session-id`]: "4c0e5f4e-5d43-4a76-9a0b-06ea43c53a10",
        }),
      })
      .meta(doc("Where it happened.")),
    timestamp: z.string().meta(doc("When it happened, ISO 8601.", EXAMPLE_TIME)),
    stored: z
      .string()
      .optional()
      .meta(doc("When Playhead stored the statement, ISO 8601.", "2026-11-21T14:17:18.120Z")),
  })
  .meta({ id: "XapiStatement", ...doc("A statement of the xAPI Video Profile.") });
export type XapiStatement = z.infer<typeof XapiStatement>;

/** A page. `more` is the address of the next one; empty on the last. */
export const XapiStatements = z
  .object({
    statements: z.array(XapiStatement).meta(doc("The statements of this page.")),
    more: z
      .string()
      .meta(
        doc(
          "The address of the next page; empty on the last.",
          `/v1/xapi/statements?cursor=${EXAMPLE_STATEMENT_CURSOR}`,
        ),
      ),
  })
  .meta({ id: "XapiStatements", ...doc("A page of statements.") });
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
  statementId: z.uuid().optional().meta(doc("Only the statement of this id.", EXAMPLE_STATEMENT_ID)),
  agent: Agent.optional().meta(
    doc(
      "Only statements of this learner: an account as JSON, or a user's id.",
      `{"account":{"homePage":"${EXAMPLE_BASE}","name":"bob"}}`,
    ),
  ),
  verb: z.string().max(2000).optional().meta(doc("Only statements with this verb: its IRI, or its name.", "completed")),
  activity: z
    .string()
    .max(2000)
    .optional()
    .meta(doc("Only statements about this file, by its IRI.", `${EXAMPLE_BASE}/files/demo-intro`)),
  since: Time.optional().meta(doc("Only statements that were stored after this time.", EXAMPLE_TIME)),
  until: Time.optional().meta(doc("Only statements that were stored by this time.", EXAMPLE_TIME)),
  ascending: z
    .enum(["true", "false"])
    .transform((text) => text === "true")
    .optional()
    .meta(doc("`true`: the oldest first.", "true")),
  limit: z.coerce
    .number()
    .int()
    .min(0)
    .max(500)
    .default(100)
    .meta(doc("How many statements a page has; 0 for as many as there may be.", 100)),
  cursor: z
    .string()
    .regex(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z_\d{1,18}$/, { error: "expected the cursor of an earlier answer" })
    .optional()
    .meta(doc("Where the page begins. It is in `more` of the page before.", EXAMPLE_STATEMENT_CURSOR)),
});
export type XapiQuestion = z.infer<typeof XapiQuestion>;

/** Which refused statements to list. */
export const RefusedQuestion = z.object({
  before: z
    .string()
    .regex(/^\d{1,18}$/, { error: "expected the next of an earlier answer" })
    .optional()
    .meta(doc("The `next` of the page before.", "4711")),
  limit: z.coerce.number().int().min(1).max(200).default(50).meta(doc("How many statements a page has.", 50)),
});

/** A page of statements that the learning record store has refused. */
export const RefusedStatements = z
  .object({
    refused: z
      .array(
        z
          .object({
            statement: XapiStatement,
            refusedAt: z.string().meta(doc("When it was refused, ISO 8601.", EXAMPLE_TIME)),
            error: z.string().meta(doc("What the store answered.", "the store answered 400: invalid actor")),
          })
          .meta(doc("A refused statement.")),
      )
      .meta(doc("The statements of this page, the newest first.")),
    next: z.string().optional().meta(doc("The `before` of the next page; absent on the last.", "4711")),
  })
  .meta({ id: "RefusedStatements", ...doc("A page of statements that the learning record store has refused.") });
export type RefusedStatements = z.infer<typeof RefusedStatements>;
