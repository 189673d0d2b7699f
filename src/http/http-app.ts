import { createRoute, OpenAPIHono, z } from "@hono/zod-openapi";
import type { MiddlewareHandler } from "hono";
import type { Caller } from "../auth/caller.ts";
import { toBadRequest } from "../protocol/ack.ts";
import { Id } from "../protocol/ids.ts";
import type { HttpEnv } from "../uws/serve-fetch.ts";
import { Problem } from "./problem.ts";

/*
 * What all route families share: the kind of application they add themselves to, and the parts of a declaration
 * that repeat. Routes, their validation and /openapi.json come from the same declarations.
 */

export interface HttpTypes {
  Bindings: HttpEnv;
  Variables: {
    /** Set by the bearer middleware, on the routes that have it. */
    caller: Caller;
  };
}

export type HttpApp = OpenAPIHono<HttpTypes>;
export type HttpMiddleware = MiddlewareHandler<HttpTypes>;

/** An empty application that refuses what a route's schemas do not take. */
export function createHttpApp(): HttpApp {
  const app: HttpApp = new OpenAPIHono<HttpTypes>({
    defaultHook: (result) => {
      if (!result.success) throw toBadRequest(result.error);
    },
  });
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", { type: "http", scheme: "bearer" });
  return app;
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

/** A declaration's `security` where a token is due. */
export const BEARER: Record<string, string[]>[] = [{ bearer: [] }];

export function jsonContent<S extends z.ZodType>(schema: S, description: string) {
  return { description, content: { "application/json": { schema } } };
}

export function jsonBody<S extends z.ZodType>(schema: S) {
  return { required: true, content: { "application/json": { schema } } };
}

/** A page of a list in the order of its ids: `after` is the last id of the page before. */
export function pageQuery(limits: { max: number; default: number }) {
  return {
    after: Id.optional(),
    limit: z.coerce.number().int().min(1).max(limits.max).default(limits.default),
  };
}
