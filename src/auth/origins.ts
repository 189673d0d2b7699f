/**
 * Whether a page of this origin may connect or call: one that is listed, or one of the server's own host (`host` is what
 * the client asked for). Who sends no Origin is not another site's page, and is judged by its token alone.
 */
export function isAllowedOrigin(
  origin: string | undefined,
  host: string | undefined,
  allowed: readonly string[],
): boolean {
  if (origin === undefined || allowed.includes("*") || allowed.includes(origin)) return true;
  return URL.canParse(origin) && host !== undefined && new URL(origin).host === host.toLowerCase();
}
