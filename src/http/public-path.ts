/*
 * The path at which a proxy shows the server (PUBLIC_PATH), empty without one. Some proxies take it away and some pass it
 * on, and probes come directly; so every address is answered with and without it.
 */

/**
 * Answered without the path only. Otherwise `/progress/progress/metrics` would get past a proxy that takes the path away and
 * refuses `/progress/metrics`.
 */
const INSIDE = "/metrics";

/** The path of a request as the server knows it: without the public path, if it begins with that. */
export function withoutPublicPath(path: string, publicPath: string): string {
  if (publicPath === "" || !path.startsWith(`${publicPath}/`)) return path;
  const own = path.slice(publicPath.length);
  return own === INSIDE ? path : own;
}
