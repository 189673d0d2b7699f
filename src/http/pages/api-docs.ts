import type { Router } from "../router.ts";
import { contentSecurityPolicy } from "./content-security-policy.ts";
import { renderDocs } from "./docs-page.ts";

/** Adds `/openapi.json`, and `/docs`, which shows the same as a page. */
export function addApiDocs(router: Router, { version, publicPath }: { version: string; publicPath: string }): void {
  // All routes are added before the first request; so the description is made once, at that request.
  let described: ReturnType<typeof describeRoutes> | null = null;
  const describeOnce = () => {
    described ??= describeRoutes(router, { version, servers: [{ url: publicPath || "/" }] });
    return described;
  };
  router.get("/openapi.json", (c) => c.json(describeOnce()));
  router.get("/docs", (c) =>
    c.html(renderDocs(describeOnce()), 200, {
      "content-security-policy": contentSecurityPolicy(new URL(c.req.url).host),
    }),
  );
}

function describeRoutes(router: Router, { version, servers }: { version: string; servers: { url: string }[] }) {
  return router.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Playhead",
      version,
      license: { name: "Apache-2.0" },
      description:
        "Progress of video players, exact and live. Players stream over Socket.IO (docs/protocol.md); this is the HTTP side.",
    },
    servers,
  });
}
