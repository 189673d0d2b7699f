import type { Router } from "../router.ts";
import { toOpenApi } from "./openapi.ts";

/** Adds `/openapi.json`. */
export function addApiDocs(router: Router, { version, publicPath }: { version: string; publicPath: string }): void {
  // All routes are added before the first request; so the description is made once, at that request.
  let described: ReturnType<typeof toOpenApi> | null = null;
  router.get("/openapi.json", (c) => {
    described ??= toOpenApi(router, { version, publicPath });
    return c.json(described);
  });
}
