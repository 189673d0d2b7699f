import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import { getPath } from "hono/utils/url";
import type { Caller } from "../auth/caller.ts";
import { toBadRequest } from "../protocol/ack.ts";
import { Id } from "../protocol/ids.ts";
import type { HttpEnv } from "../uws/serve-fetch.ts";
import { Problem } from "./problem.ts";
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
  router.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  return router;
}

export { createRoute, z };

export const ProblemSchema = Problem.meta({ id: "Problem" });

/** Every route may answer with a problem. */
export const PROBLEMS = {
  default: {
    description: "A problem; docs/errors.md says what each code means.",
    content: { "application/problem+json": { schema: ProblemSchema } },
  },
} as const;

/** The `security` of a route that needs a token. */
export const BEARER: Record<string, string[]>[] = [{ bearer: [] }];

export function jsonContent<S extends z.ZodType>(schema: S, description: string) {
  return { description, content: { "application/json": { schema } } };
}

export function jsonBody<S extends z.ZodType>(schema: S) {
  return { required: true, content: { "application/json": { schema } } };
}

/** The query of a page of a list that is ordered by id. `after` is the last id of the page before. */
export function pageQuery(limits: { max: number; default: number }) {
  return {
    after: Id.optional(),
    limit: z.coerce.number().int().min(1).max(limits.max).default(limits.default),
  };
}
