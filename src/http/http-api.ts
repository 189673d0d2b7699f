import { bodyLimit } from "hono/body-limit";
import { matchedRoutes, routePath } from "hono/route";
import type { Accounts } from "../auth/accounts.ts";
import type { MintToken, VerifyToken } from "../auth/caller.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { Config } from "../config.ts";
import { AppError } from "../errors.ts";
import { createRateLimit } from "../limits/rate-limit.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { ProgressService } from "../progress/progress-service.ts";
import type { PublishGate } from "../streams/publish-gate.ts";
import type { StreamService } from "../streams/stream-service.ts";
import { addAccountRoutes } from "./accounts/accounts.ts";
import { allowOrigins } from "./allowed-origins.ts";
import { createBearer } from "./bearer.ts";
import { createClientAddress } from "./client-address.ts";
import { addCourseRoutes } from "./courses/courses.ts";
import { addHookRoutes } from "./hooks/hooks.ts";
import { createHttpApp, type HttpApp, type HttpMiddleware } from "./http-app.ts";
import { addOperationRoutes, type Health } from "./operations/operations.ts";
import { addDemoRoutes } from "./pages/demo.ts";
import { addPageRoutes } from "./pages/pages.ts";
import { toAppError, toProblemResponse } from "./problem.ts";
import { addHeartbeatRoutes } from "./progress/heartbeats.ts";
import { addLearnerRoutes } from "./progress/learners.ts";
import { addLegacyProgressRoutes } from "./progress/legacy-progress.ts";
import { addProgressRoutes } from "./progress/progress.ts";
import { addStreamRoutes } from "./streams/streams.ts";

/** The longest body of any request: a catalogue of about 15,000 files. To be handed to `serveHono`. */
export const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** Every other body, as long as a frame on a socket. */
const MAX_SMALL_BODY_BYTES = 64 * 1024;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

export interface HttpParts {
  config: Pick<
    Config,
    | "ALLOWED_ORIGINS"
    | "TRUST_PROXY"
    | "RATE_LIMIT_BURST"
    | "RATE_LIMIT_PER_SECOND"
    | "HOOK_SECRETS"
    | "STREAM_ROLES"
    | "demo"
  >;
  /** As /openapi.json names it. */
  version: string;
  logger: Logger;
  metrics: Metrics;
  verifyToken: VerifyToken;
  mintToken: MintToken;
  /** Null where built-in accounts are switched off. */
  accounts: Accounts | null;
  progress: ProgressService;
  catalogue: Catalogue;
  streams: StreamService;
  publishGate: PublishGate;
  health: Health;
  /** What `/metrics` answers; by default what `metrics` holds. */
  figures?: () => Promise<string>;
  /** The folder of built pages; without it there are none. */
  pages?: string;
}

/** Every HTTP route, as a fetch function that `serveHono` puts on the network. */
export function createHttpApi(parts: HttpParts): HttpApp {
  const { config, logger, metrics, catalogue, progress } = parts;
  const rates = { burst: config.RATE_LIMIT_BURST, perSecond: config.RATE_LIMIT_PER_SECOND };
  const clientAddress = createClientAddress({ trustProxy: config.TRUST_PROXY });
  const limitAddress = createRateLimit(rates);
  const bearer = createBearer({
    verifyToken: parts.verifyToken,
    limitUser: createRateLimit(rates),
    limitAddress,
    clientAddress,
  });

  const app = createHttpApp();
  app.onError((thrown) => {
    const error = toAppError(thrown);
    log(logger, error);
    return toProblemResponse(error);
  });
  app.notFound((c) => answerUnknown(app, c.req.path));
  app.use(countRequests(metrics));
  app.use(async (c, next) => {
    await next();
    c.header("x-content-type-options", "nosniff");
    c.header("referrer-policy", "no-referrer");
  });
  app.use(allowOrigins({ allowed: config.ALLOWED_ORIGINS, trustProxy: config.TRUST_PROXY }));
  app.use(limitBodies());

  addAccountRoutes(app, { accounts: parts.accounts, limitAddress, clientAddress });
  if (config.demo) addDemoRoutes(app, { mintToken: parts.mintToken, limitAddress, clientAddress });
  addHeartbeatRoutes(app, { progress, bearer });
  addProgressRoutes(app, { progress, bearer: bearer.required });
  addLegacyProgressRoutes(app, { progress, bearer: bearer.required });
  addCourseRoutes(app, { catalogue, bearer: bearer.required });
  addLearnerRoutes(app, { catalogue, progress, bearer: bearer.required });
  addStreamRoutes(app, { streams: parts.streams, roles: config.STREAM_ROLES, bearer: bearer.required });
  addHookRoutes(app, { gate: parts.publishGate, secrets: config.HOOK_SECRETS, limitAddress, clientAddress });
  addOperationRoutes(app, {
    health: parts.health,
    metrics,
    figures: parts.figures ?? (() => metrics.registry.metrics()),
    version: parts.version,
  });
  if (parts.pages !== undefined) addPageRoutes(app, { folder: parts.pages });
  return app;
}

function log(logger: Logger, error: unknown): void {
  if (!(error instanceof AppError)) logger.error({ err: error }, "an HTTP request failed");
  else if (error.code === "unavailable" || error.code === "overloaded") {
    logger.warn({ err: error }, "an HTTP request was refused");
  }
}

/** A path that another method takes is 405, every other 404. */
function answerUnknown(app: HttpApp, path: string): Response {
  const allowed = METHODS.filter((method) =>
    app.router.match(method, path)[0].some(([[, route]]) => route.method === method),
  );
  if (allowed.length === 0)
    return toProblemResponse(new AppError("not_found", "There is no such address here; /docs lists them."));
  if (allowed.includes("GET")) allowed.push("HEAD");
  const allow = allowed.join(", ");
  return toProblemResponse(new AppError("bad_request", `This address takes ${allow}.`, { status: 405 }), { allow });
}

function countRequests({ httpRequests, httpSeconds }: Metrics): HttpMiddleware {
  return async (c, next) => {
    const startedAt = performance.now();
    await next();
    // Middleware is registered for all methods; what is left is the route, and never a path that a client made up.
    const route = matchedRoutes(c).some(({ method }) => method !== "ALL") ? routePath(c, -1) : "(none)";
    const method = METHODS.includes(c.req.method) ? c.req.method : "OTHER";
    httpRequests.inc({ method, route, status: String(c.res.status) });
    httpSeconds.observe({ route }, (performance.now() - startedAt) / 1000);
  };
}

function limitBodies(): HttpMiddleware {
  const limit = bodyLimit({
    maxSize: MAX_SMALL_BODY_BYTES,
    onError: () => {
      throw new AppError("bad_request", `The body is longer than ${MAX_SMALL_BODY_BYTES} bytes.`, { status: 413 });
    },
  });
  return async (c, next) => {
    // A catalogue may be longer; the adapter bounds it.
    if (c.req.method === "PUT" && c.req.path.startsWith("/v1/courses/")) return next();
    return limit(c, next);
  };
}
