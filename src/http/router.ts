import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { getPath } from "hono/utils/url";
import type { Caller } from "../auth/caller.ts";
import { AppError, type ErrorCode } from "../errors.ts";
import { toBadRequest } from "../protocol/ack.ts";
import { doc } from "../protocol/doc.ts";
import { Id } from "../protocol/ids.ts";
import type { HttpEnv } from "../uws/serve-fetch.ts";
import { Problem, toProblem } from "./problem.ts";
import { withoutPublicPath } from "./public-path.ts";

/*
 * The application that all subjects add their routes to, and the parts that their declarations share. One declaration makes
 * the route, its validation, and its entry in /openapi.json.
 */

export interface RouterTypes {
  Bindings: HttpEnv;
  Variables: {
    /** Set by the middleware `bearer.required`. */
    caller: Caller;
  };
}

export type Router = OpenAPIHono<RouterTypes>;
export type Middleware = MiddlewareHandler<RouterTypes>;

/**
 * Makes an application without routes, whose routes are found below the public path too. Requests that a route's schemas do
 * not accept are refused as `bad_request`.
 */
export function createRouter(publicPath = ""): Router {
  const router: Router = new OpenAPIHono<RouterTypes>({
    getPath: (request) => withoutPublicPath(getPath(request), publicPath),
    defaultHook: (result) => {
      if (!result.success) throw toBadRequest(result.error);
    },
  });
  for (const [name, scheme] of Object.entries(SECURITY_SCHEMES))
    router.openAPIRegistry.registerComponent("securitySchemes", name, scheme);
  return router;
}

export { createRoute, z };

const problem = (description: string, code: ErrorCode, detail: string) => ({
  description,
  content: { "application/problem+json": { schema: Problem, example: toProblem(new AppError(code, detail)) } },
});

/** Every route may answer with a problem. */
export const PROBLEMS = {
  "4XX": problem(
    "The request cannot be answered as it is; `code` says why, and docs/errors.md what to do.",
    "rate_limited",
    "Too many calls.",
  ),
  "5XX": problem("The server, or a part that it needs, cannot answer now.", "unavailable", "The database is away."),
} as const;

type Security = Record<string, string[]>[];
/** The `security` of a route that needs a token. */
export const BEARER: Security = [{ bearer: [] }];
/** The `security` of a route that everybody may call. */
export const PUBLIC: Security = [];

const SECURITY_SCHEMES = {
  bearer: {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description: "A token: from `/v1/auth/login`, signed by your backend, or from Firebase.",
  },
  hookSecret: {
    type: "apiKey",
    in: "query",
    name: "secret",
    description: "One of HOOK_SECRETS, in the address of the hook.",
  },
  hookSignature: {
    type: "apiKey",
    in: "header",
    name: "X-OME-Signature",
    description: "base64url(HMAC-SHA1(secret, body)), as OvenMediaEngine signs with one of HOOK_SECRETS.",
  },
} as const;

export function jsonContent<S extends z.ZodType>(schema: S, description: string) {
  return { description, content: { "application/json": { schema } } };
}

export function jsonBody<S extends z.ZodType>(schema: S) {
  return { required: true, content: { "application/json": { schema } } };
}

/** The query of a page of a list that is ordered by id. `after` is the last id of the page before. */
export function pageQuery(limits: { max: number; default: number }) {
  return {
    after: Id.optional().meta(doc("The `next` of the page before; without it the first page.", "demo")),
    limit: z.coerce
      .number()
      .int()
      .min(1)
      .max(limits.max)
      .default(limits.default)
      .meta(doc("The most rows of the page.", limits.default)),
  };
}

/** The field of a page that leads to the next one. */
export function nextPage(example: string) {
  return z.string().optional().meta(doc("The `after` of the next page; absent on the last.", example));
}

/** The query parameter that leaves out what belongs to others. */
export function mine(description: string) {
  return z.enum(["true", "false"]).optional().meta(doc(description, "true"));
}
