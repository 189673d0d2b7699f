import type { Caller } from "../../auth/caller.ts";
import type { Config } from "../../config.ts";
import { AppError } from "../../errors.ts";
import { doc } from "../../protocol/doc.ts";
import {
  EXAMPLE_STATEMENT_ID,
  RefusedQuestion,
  RefusedStatements,
  XAPI_VERSION,
  XapiQuestion,
  XapiStatements,
} from "../../protocol/xapi.ts";
import type { StatementStore } from "../../xapi/statement-store.ts";
import type { Bearer } from "../bearer.ts";
import { BEARER, createRoute, jsonContent, type Middleware, PROBLEMS, type Router, z } from "../router.ts";

const Retried = z
  .object({ retried: z.number().meta(doc("How many statements are sent again.", 1)) })
  .meta({ id: "XapiRetried", ...doc("What is sent again.") });
const Retry = z.object({
  statementId: z
    .uuid()
    .optional()
    .meta(doc("The statement to send again; without it all that were refused.", EXAMPLE_STATEMENT_ID)),
});
const PATH = "/v1/xapi/statements";

export interface XapiRouteParts {
  config: Pick<Config, "PUBLIC_PATH">;
  xapi: StatementStore;
  bearer: Bearer;
}

const requireAdmin: Middleware = async (c, next) => {
  if (c.var.caller.role !== "admin")
    throw new AppError("forbidden", "Only an admin may see what the record store refused.");
  await next();
};

/** Adds the routes for xAPI statements. */
export function addXapiRoutes(router: Router, { config, xapi, bearer }: XapiRouteParts): void {
  const shared = { tags: ["xAPI"], security: BEARER };

  const list = createRoute({
    ...shared,
    method: "get",
    path: PATH,
    middleware: bearer.required,
    operationId: "listXapiStatements",
    summary: "List xAPI statements",
    description:
      "The statements of the xAPI Video Profile that Playhead has made of progress, by the parameters of xAPI 1.0.3. An admin gets everybody's, all others their own.",
    request: { query: XapiQuestion },
    responses: { 200: jsonContent(XapiStatements, "One page; `more` is the address of the next."), ...PROBLEMS },
  });
  router.openapi(list, async (c) => {
    const question = c.req.valid("query");
    const { statements, cursor } = await xapi.list(ofCaller(c.var.caller, question));
    const headers = { "x-experience-api-version": XAPI_VERSION };
    if (cursor === null) return c.json({ statements, more: "" }, 200, headers);
    const query = new URLSearchParams({ ...c.req.query(), cursor });
    return c.json({ statements, more: `${config.PUBLIC_PATH}${PATH}?${query}` }, 200, headers);
  });

  const refused = createRoute({
    ...shared,
    method: "get",
    path: "/v1/xapi/refused",
    middleware: [bearer.required, requireAdmin],
    operationId: "listRefusedStatements",
    summary: "List the statements that the learning record store has refused, the newest first",
    description: "By an admin. They were put aside, so that the others go on.",
    request: { query: RefusedQuestion },
    responses: { 200: jsonContent(RefusedStatements, "One page."), ...PROBLEMS },
  });
  router.openapi(refused, async (c) => c.json(await xapi.refused(c.req.valid("query")), 200));

  const retry = createRoute({
    ...shared,
    method: "post",
    path: "/v1/xapi/refused/retry",
    middleware: [bearer.required, requireAdmin],
    operationId: "retryRefusedStatements",
    summary: "Send refused statements again",
    description: "By an admin. One of them, or all.",
    request: {
      // The body is optional: without it all are sent again.
      body: { content: { "application/json": { schema: Retry } } },
    },
    responses: {
      200: jsonContent(Retried, "How many are sent again."),
      ...PROBLEMS,
    },
  });
  router.openapi(retry, async (c) => c.json({ retried: await xapi.retry(c.req.valid("json").statementId) }, 200));
}

/** @throws AppError `forbidden` where somebody asks for another's statements who is no admin */
function ofCaller({ userId, role }: Caller, question: XapiQuestion): XapiQuestion {
  if (role === "admin") return question;
  if (question.agent !== undefined && question.agent.name !== userId)
    throw new AppError("forbidden", "Only an admin may see the statements of others.");
  return { ...question, agent: question.agent ?? { name: userId, homePage: null } };
}
