import { fileURLToPath } from "node:url";
import type { Context } from "hono";
import type { Config } from "../../config.ts";
import { AppError } from "../../errors.ts";
import type { Router, RouterTypes } from "../router.ts";
import { addApiDocs } from "./api-docs.ts";
import { contentSecurityPolicy } from "./content-security-policy.ts";
import { loadStaticFiles, type StaticFile, serveStaticFile } from "./static-files.ts";

/** The addresses of pages that are not their file names. */
const ADDRESSES: Record<string, string> = { "/": "index.html", "/watch": "watch.html", "/docs": "docs.html" };

/** Vite puts a hash of the content into these names, so the content under a name never changes. */
const HASHED = /^assets\//;
const FOREVER = "public, max-age=31536000, immutable";
const REVALIDATE = "no-cache";

/** The folder that Vite builds the pages into. It is three folders up from src/http/pages, and from dist/http/pages. */
export const BUILT_PAGES = fileURLToPath(new URL("../../../dist/dashboard", import.meta.url));

export interface PageParts {
  config: Pick<Config, "PUBLIC_PATH">;
  /** The folder of built pages; without it only the description of the API is served. */
  pages?: string;
  /** The version that /openapi.json names. */
  version: string;
}

/** Adds the descriptions of the API, and the built pages: `/`, `/watch`, `/docs`, and every other file under its own path. */
export function addPageRoutes(router: Router, { config, pages, version }: PageParts): void {
  const publicPath = config.PUBLIC_PATH;
  addApiDocs(router, { version, publicPath });
  if (pages !== undefined) addBuiltPages(router, pages, publicPath);
}

function addBuiltPages(router: Router, folder: string, publicPath: string): void {
  const files = loadStaticFiles(folder, (bytes, path) =>
    path.endsWith(".html") ? withBase(bytes, publicPath) : bytes,
  );
  const hasBase = publicPath !== "";
  for (const [address, name] of Object.entries(ADDRESSES)) {
    router.get(address, (c) => {
      const file = files.get(name);
      if (file === undefined) throw new AppError("not_found", "The pages are not built; `npm run build` makes them.");
      return serve(c, file, hasBase);
    });
  }
  for (const file of files.values()) {
    router.get(`/${file.path}`, (c) => serve(c, file, hasBase));
  }
}

/**
 * Pages name everything relative to their own address. A proxy may show the dashboard at `/progress` too, without the last
 * slash: with the <base> they need not know.
 */
function withBase(page: Uint8Array, publicPath: string): Uint8Array {
  if (publicPath === "") return page;
  return Buffer.from(Buffer.from(page).toString().replace("<head>", `<head><base href="${publicPath}/">`));
}

function serve(c: Context<RouterTypes>, file: StaticFile, hasBase: boolean): Response {
  return serveStaticFile(file, c.req.raw.headers, {
    "cache-control": HASHED.test(file.path) ? FOREVER : REVALIDATE,
    "content-security-policy": contentSecurityPolicy(new URL(c.req.url).host, { hasBase }),
  });
}
