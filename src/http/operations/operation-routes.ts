import type { Metrics } from "../../metrics/metrics.ts";
import { createRoute, jsonContent, type Router, z } from "../router.ts";
import type { Health } from "./health.ts";

const Alive = z.object({ status: z.literal("ok"), uptimeSeconds: z.number() });
const Ready = z
  .object({
    ok: z.boolean(),
    checks: z.record(z.string(), z.object({ ok: z.boolean(), detail: z.string().optional() })),
  })
  .meta({ id: "Readiness" });

const shared = { tags: ["Operations"], method: "get" as const };

const healthz = createRoute({
  ...shared,
  path: "/healthz",
  summary: "Whether the process is alive",
  responses: { 200: jsonContent(Alive, "It is.") },
});

const readyz = createRoute({
  ...shared,
  path: "/readyz",
  summary: "Whether the server can do its work",
  responses: {
    200: jsonContent(Ready, "Every check is ok."),
    503: jsonContent(Ready, "At least one check is not ok: send no traffic here."),
  },
});

const metricsRoute = createRoute({
  ...shared,
  path: "/metrics",
  summary: "Figures for Prometheus",
  responses: { 200: { description: "Prometheus's text format.", content: { "text/plain": { schema: z.string() } } } },
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
