import { bodyLimit } from "hono/body-limit";
import { matchedRoutes, routePath } from "hono/route";
import type { Accounts } from "../auth/accounts.ts";
import type { MintToken, VerifyToken } from "../auth/caller.ts";
import { createRefusedOrigins } from "../auth/origins.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import type { Config } from "../config.ts";
import { AppError } from "../errors.ts";
import { createRateLimit, type RateLimit } from "../limits/rate-limit.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { RefusalLog } from "../metrics/refusal-log.ts";
import type { Profiles } from "../people/profiles.ts";
import type { UserData } from "../people/user-data.ts";
import type { SharedProgressService } from "../progress/progress-service.ts";
import type { PublishGate } from "../streams/publish-gate.ts";
import type { StreamService } from "../streams/stream-service.ts";
import type { WebhookStore } from "../webhooks/webhook-store.ts";
import type { StatementStore } from "../xapi/statement-store.ts";
import { addAccountRoutes } from "./accounts/account-routes.ts";
import { allowOrigins } from "./allowed-origins.ts";
import { type Bearer, createBearer } from "./bearer.ts";
import { type ClientAddress, createClientAddress } from "./client-address.ts";
import { addCourseRoutes } from "./courses/course-routes.ts";
import { addHookRoutes } from "./hooks/hook-routes.ts";
import type { Health } from "./operations/health.ts";
import { addOperationRoutes } from "./operations/operation-routes.ts";
import { addPageRoutes } from "./pages/page-routes.ts";
import { addPeopleRoutes } from "./people/people-routes.ts";
import { addUserDataRoutes } from "./people/user-data-routes.ts";
import { toAppError, toProblemResponse } from "./problem.ts";
import { addProgressRoutes } from "./progress/progress-routes.ts";
import { createRouter, type Middleware, type Router } from "./router.ts";
import { addStreamRoutes } from "./streams/stream-routes.ts";
import { addWebhookRoutes } from "./webhooks/webhook-routes.ts";
import { addXapiRoutes } from "./xapi/xapi-routes.ts";

/** The longest body of any request: a catalogue of about 15,000 files. `serveFetch` enforces it. */
export const MAX_BODY_BYTES = 2 * 1024 * 1024;
/** The longest body of every other request: as long as a frame on a socket. */
const MAX_SMALL_BODY_BYTES = 64 * 1024;
const METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** The parts of the server that answer requests. */
export interface HttpParts {
  config: Pick<
    Config,
    | "PUBLIC_PATH"
    | "ALLOWED_ORIGINS"
    | "TRUST_PROXY"
    | "RATE_LIMIT_BURST"
    | "RATE_LIMIT_PER_SECOND"
    | "HOOK_SECRETS"
    | "STREAM_ROLES"
    | "demo"
  >;
  /** The version that /openapi.json names. */
  version: string;
  logger: Logger;
  metrics: Metrics;
  verifyToken: VerifyToken;
  mintToken: MintToken;
  /** Null if built-in accounts are switched off. */
  accounts: Accounts | null;
  progress: SharedProgressService;
  catalogue: Catalogue;
  profiles: Profiles;
  userData: UserData;
  streams: StreamService;
  publishGate: PublishGate;
  webhooks: WebhookStore;
  xapi: StatementStore;
  health: Health;
  /** What `/metrics` answers; by default the figures of `metrics`. */
  figures?: () => Promise<string>;
  /** The folder of built pages; without it there are none. */
  pages?: string;
}

/** The parts, and what identifies and limits their callers. */
interface RouteParts extends HttpParts {
  bearer: Bearer;
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
}

/** The subjects of the API, a folder each. Each takes the parts that it needs. */
const SUBJECTS: readonly ((router: Router, parts: RouteParts) => void)[] = [
  addAccountRoutes,
  addProgressRoutes,
  addCourseRoutes,
  addPeopleRoutes,
  addUserDataRoutes,
  addStreamRoutes,
  addWebhookRoutes,
  addXapiRoutes,
  addHookRoutes,
  addOperationRoutes,
  addPageRoutes,
];

/** Builds the whole HTTP API, as an application whose `fetch` answers requests. */
export function createHttpApi(parts: HttpParts): Router {
  const { config, logger, metrics, verifyToken } = parts;
  const rates = { burst: config.RATE_LIMIT_BURST, perSecond: config.RATE_LIMIT_PER_SECOND };
  const clientAddress = createClientAddress({ trustProxy: config.TRUST_PROXY });
  const limitAddress = createRateLimit(rates);
  const limitUser = createRateLimit(rates);
  const bearer = createBearer({ verifyToken, limitUser, limitAddress, clientAddress, burst: rates.burst });

  const router = createRouter(config.PUBLIC_PATH);
  const refusals = new RefusalLog(logger);
  router.onError((thrown) => {
    const error = toAppError(thrown);
    refusals.write(error, error instanceof AppError ? "an HTTP request was refused" : "an HTTP request failed");
    return toProblemResponse(error);
  });
  router.notFound((c) => answerUnknown(router, c.req.path));
  router.use(countRequests(metrics));
  router.use(async (c, next) => {
    await next();
    c.header("x-content-type-options", "nosniff");
    c.header("referrer-policy", "no-referrer");
  });
  const origins = { allowed: config.ALLOWED_ORIGINS, trustProxy: config.TRUST_PROXY };
  router.use(allowOrigins({ ...origins, logRefused: createRefusedOrigins(logger) }));
  router.use(limitBodies());
  const home = `${config.PUBLIC_PATH}/`;
  // `/progress` is at `/progress/`.
  if (home !== "/") router.get(config.PUBLIC_PATH, (c) => c.redirect(home + new URL(c.req.url).search));
  for (const addRoutes of SUBJECTS) addRoutes(router, { ...parts, bearer, limitAddress, clientAddress });
  return router;
}

/** Answers 405 if another method has this path, else 404. */
function answerUnknown(router: Router, path: string): Response {
  const allowed = METHODS.filter((method) =>
    router.router.match(method, path)[0].some(([[, route]]) => route.method === method),
  );
  if (allowed.length === 0)
    return toProblemResponse(new AppError("not_found", "There is no such address here; /docs lists them."));
  if (allowed.includes("GET")) allowed.push("HEAD");
  const allow = allowed.join(", ");
  return toProblemResponse(new AppError("bad_request", `This address takes ${allow}.`, { status: 405 }), { allow });
}

function countRequests({ httpRequests, httpSeconds }: Metrics): Middleware {
  return async (c, next) => {
    const startedAt = performance.now();
    await next();
    // Middleware is registered for ALL methods, so a match with a method is a route. A path that no route has is never a label.
    const route = matchedRoutes(c).some(({ method }) => method !== "ALL") ? routePath(c, -1) : "(none)";
    const method = METHODS.includes(c.req.method) ? c.req.method : "OTHER";
    httpRequests.inc({ method, route, status: String(c.res.status) });
    httpSeconds.observe({ route }, (performance.now() - startedAt) / 1000);
  };
}

function limitBodies(): Middleware {
  const limit = bodyLimit({
    maxSize: MAX_SMALL_BODY_BYTES,
    onError: () => {
      throw new AppError("bad_request", `The body is longer than ${MAX_SMALL_BODY_BYTES} bytes.`, { status: 413 });
    },
  });
  return async (c, next) => {
    // A catalogue may be longer: up to MAX_BODY_BYTES.
    if (c.req.method === "PUT" && c.req.path.startsWith("/v1/courses/")) return next();
    return limit(c, next);
  };
}
