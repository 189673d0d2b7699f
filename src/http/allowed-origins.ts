import type { Context } from "hono";
import { cors } from "hono/cors";
import { isAllowedOrigin, type LogRefusedOrigin } from "../auth/origins.ts";
import { AppError } from "../errors.ts";
import type { Middleware, RouterTypes } from "./router.ts";

const PREFLIGHT_SECONDS = 600;

/**
 * Refuses requests from pages of origins that are not allowed: it does not merely keep those pages from reading the answer.
 * A request without an Origin header comes from no other site's page; only its token counts.
 */
export function allowOrigins(options: {
  allowed: string[];
  trustProxy: boolean;
  logRefused: LogRefusedOrigin;
}): Middleware {
  const { allowed, trustProxy, logRefused } = options;

  function isAllowed(origin: string, c: Context<RouterTypes>): boolean {
    const host = (trustProxy ? c.req.header("x-forwarded-host") : undefined) ?? c.req.header("host");
    return isAllowedOrigin(origin, host, allowed);
  }

  const withHeaders = cors({
    // Origins that are not allowed were refused before.
    origin: (origin) => origin || null,
    allowMethods: ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
    allowHeaders: ["Authorization", "Content-Type", "If-Match", "If-None-Match"],
    exposeHeaders: ["ETag", "Retry-After"],
    maxAge: PREFLIGHT_SECONDS,
  });

  return async (c, next) => {
    const origin = c.req.header("origin");
    if (origin !== undefined && !isAllowed(origin, c)) {
      logRefused(origin);
      throw new AppError("forbidden", "Pages of this origin may not call here; ALLOWED_ORIGINS lists those that may.");
    }
    return withHeaders(c, next);
  };
}
