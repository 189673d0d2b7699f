import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import type { HttpApp, HttpTypes } from "../http-app.ts";
import { loadStaticFiles, type StaticFile, serveStaticFile } from "./static-files.ts";

/** Where the pages are, beside their own file names. */
const ADDRESSES: Record<string, string> = { "/": "index.html", "/watch": "watch.html" };

/** Vite puts a hash of the content into these names: under one name there is only ever one content. */
const HASHED = /^assets\//;
const FOREVER = "public, max-age=31536000, immutable";
const ASK_EVERY_TIME = "no-cache";

/** Serves the folder of built pages: `/`, `/watch`, and every other file under its own path. */
export function addPageRoutes(app: HttpApp, { folder }: { folder: string }): void {
  const files = loadStaticFiles(folder);
  for (const [address, name] of Object.entries(ADDRESSES)) {
    app.get(address, (c) => {
      const file = files.get(name);
      if (file === undefined) throw new AppError("not_found", "The pages are not built; `npm run build` makes them.");
      return serve(c, file);
    });
  }
  for (const file of files.values()) {
    app.get(`/${file.path}`, (c) => serve(c, file));
  }
}

function serve(c: Context<HttpTypes>, file: StaticFile): Response {
  return serveStaticFile(file, c.req.raw.headers, {
    "cache-control": HASHED.test(file.path) ? FOREVER : ASK_EVERY_TIME,
    "content-security-policy": contentSecurityPolicy(new URL(c.req.url).host),
  });
}

/**
 * Only what this server serves, no inline script, in nobody's frame. Sockets are named besides 'self', which does not
 * cover ws: in every browser.
 */
export function contentSecurityPolicy(host: string): string {
  return [
    "default-src 'self'",
    `connect-src 'self' ws://${host} wss://${host}`,
    "img-src 'self' data:",
    "media-src 'self' blob:",
    "style-src 'self' 'unsafe-inline'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");
}
