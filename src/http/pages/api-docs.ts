import type { Router } from "../router.ts";
import { toAsyncApi } from "./asyncapi.ts";
import { contentSecurityPolicy } from "./content-security-policy.ts";
import { toOpenApi } from "./openapi.ts";
import { renderSockets } from "./sockets-page.ts";

interface Described {
  version: string;
  publicPath: string;
}

/** Adds `/openapi.json`, `/asyncapi.json`, and `/docs/sockets`, which shows the second as a page. `/docs` shows the first. */
export function addApiDocs(router: Router, { version, publicPath }: Described): void {
  // All routes are added before the first request; so each description is made once, at its first request.
  const openApi = once(() => toOpenApi(router, { version, publicPath }));
  const asyncApi = once(() => toAsyncApi({ version, publicPath }));
  router.get("/openapi.json", (c) => c.json(openApi()));
  router.get("/asyncapi.json", (c) => c.json(asyncApi()));
  router.get("/docs/sockets", (c) =>
    c.html(renderSockets(asyncApi()), 200, {
      "content-security-policy": contentSecurityPolicy(new URL(c.req.url).host),
    }),
  );
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
