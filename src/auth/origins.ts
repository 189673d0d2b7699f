/**
 * Whether a page of this origin may connect or call: the origin is in `allowed`, or has the host that the request
 * names (`host`). A client without an Origin is no page of another site: its token alone decides.
 */
export function isAllowedOrigin(
  origin: string | undefined,
  host: string | undefined,
  allowed: readonly string[],
): boolean {
  if (origin === undefined || allowed.includes("*") || allowed.includes(origin)) return true;
  return URL.canParse(origin) && host !== undefined && new URL(origin).host === host.toLowerCase();
}
