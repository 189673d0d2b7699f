import type { Metrics } from "../../metrics/metrics.ts";
import { doc } from "../../protocol/doc.ts";
import { createRoute, jsonContent, PROBLEMS, PUBLIC, type Router, z } from "../router.ts";
import type { Health } from "./health.ts";

const Alive = z
  .object({
    status: z.literal("ok").meta(doc("The process answers.", "ok")),
    uptimeSeconds: z.number().meta(doc("For how long it has been running.", 3600)),
  })
  .meta({ id: "Liveness", ...doc("The process is alive.") });
const Ready = z
  .object({
    ok: z.boolean().meta(doc("Whether every check is ok.", true)),
    checks: z
      .record(
        z.string(),
        z
          .object({
            ok: z.boolean().meta(doc("Whether this part works.", true)),
            detail: z.string().optional().meta(doc("What is wrong with it.", "no answer within 2000 ms")),
          })
          .meta(doc("One check.", { ok: true })),
      )
      .meta(doc("The checks by name.", { database: { ok: true }, migrations: { ok: true } })),
  })
  .meta({ id: "Readiness", ...doc("Whether the server can do its work.") });

const shared = { tags: ["Operations"], method: "get" as const, security: PUBLIC };

const Figures = z.string().meta(doc("One figure a line.", 'playhead_sockets{namespace="/player"} 12'));

const healthz = createRoute({
  ...shared,
  path: "/healthz",
  operationId: "getLiveness",
  summary: "Whether the process is alive",
  description: "Does not ask the database: a restart would not end its outage.",
  responses: { 200: jsonContent(Alive, "It is."), ...PROBLEMS },
});

const readyz = createRoute({
  ...shared,
  path: "/readyz",
  operationId: "getReadiness",
  summary: "Whether the server can do its work",
  description: "For balancers: 503 also while the server stops.",
  responses: {
    200: jsonContent(Ready, "Every check is ok."),
    503: jsonContent(Ready, "At least one check is not ok: send no traffic here."),
    "4XX": PROBLEMS["4XX"],
  },
});

const metricsRoute = createRoute({
  ...shared,
  path: "/metrics",
  operationId: "getMetrics",
  summary: "Figures for Prometheus",
  description: "docs/operations.md explains the figures.",
  responses: {
    200: { description: "Prometheus's text format.", content: { "text/plain": { schema: Figures } } },
    ...PROBLEMS,
  },
});

const NO_STORE = { "cache-control": "no-store" };

export interface OperationParts {
  health: Health;
  metrics: Metrics;
  /** The figures of all processes that share the port, in Prometheus's text format. By default those of `metrics`. */
  figures?: () => Promise<string>;
}

/** Adds the routes that operators and balancers ask. */
export function addOperationRoutes(
  router: Router,
  { health, metrics, figures = () => metrics.registry.metrics() }: OperationParts,
): void {
  router.openapi(healthz, (c) => c.json(health.alive(), 200, NO_STORE));

  router.openapi(readyz, async (c) => {
    const readiness = await health.ready();
    return c.json(readiness, readiness.ok ? 200 : 503, NO_STORE);
  });

  router.openapi(metricsRoute, async (c) =>
    c.text(await figures(), 200, { "content-type": metrics.registry.contentType, ...NO_STORE }),
  );
}
