import type { Metrics } from "../../metrics/metrics.ts";
import { createRoute, type HttpApp, jsonContent, z } from "../http-app.ts";
import { renderDocs } from "../pages/docs-page.ts";
import { contentSecurityPolicy } from "../pages/pages.ts";

/** What `/healthz` and `/readyz` say; http/operations/health.ts makes one. */
export interface Health {
  alive(): { status: "ok"; uptimeSeconds: number };
  ready(): Promise<{ ok: boolean; checks: Record<string, { ok: boolean; detail?: string }> }>;
}

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
    503: jsonContent(Ready, "At least one is not: send no traffic here."),
  },
});

const metricsRoute = createRoute({
  ...shared,
  path: "/metrics",
  summary: "Figures for Prometheus",
  responses: { 200: { description: "In the text format.", content: { "text/plain": { schema: z.string() } } } },
});

const NEVER_KEPT = { "cache-control": "no-store" };

interface OperationParts {
  health: Health;
  metrics: Metrics;
  /** In Prometheus's text format; of all processes that share the port. */
  figures: () => Promise<string>;
  version: string;
}

export function addOperationRoutes(app: HttpApp, { health, metrics, figures, version }: OperationParts): void {
  app.openapi(healthz, (c) => c.json(health.alive(), 200, NEVER_KEPT));

  app.openapi(readyz, async (c) => {
    const readiness = await health.ready();
    return c.json(readiness, readiness.ok ? 200 : 503, NEVER_KEPT);
  });

  app.openapi(metricsRoute, async (c) =>
    c.text(await figures(), 200, { "content-type": metrics.registry.contentType, ...NEVER_KEPT }),
  );

  // Routes do not change once the server runs: described once, at the first question.
  let described: ReturnType<typeof describeRoutes> | null = null;
  const describeOnce = () => {
    described ??= describeRoutes(app, version);
    return described;
  };
  app.get("/openapi.json", (c) => c.json(describeOnce()));
  app.get("/docs", (c) =>
    c.html(renderDocs(describeOnce()), 200, {
      "content-security-policy": contentSecurityPolicy(new URL(c.req.url).host),
    }),
  );
}

function describeRoutes(app: HttpApp, version: string) {
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Playhead",
      version,
      license: { name: "Apache-2.0" },
      description:
        "Progress of video players, exact and live. Players stream over Socket.IO (docs/protocol.md); this is the HTTP side.",
    },
    servers: [{ url: "/" }],
  });
}
