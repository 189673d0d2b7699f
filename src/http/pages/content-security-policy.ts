/**
 * The policy of every page: a page loads only from this server, runs no inline script, and stands in no frame. The
 * addresses of sockets are named because some browsers do not count ws: as 'self'. With `hasBase` it may have a <base>.
 */
export function contentSecurityPolicy(host: string, { hasBase = false } = {}): string {
  return [
    "default-src 'self'",
    `connect-src 'self' ws://${host} wss://${host}`,
    "img-src 'self' data:",
    "media-src 'self' blob:",
    "style-src 'self' 'unsafe-inline'",
    "object-src 'none'",
    `base-uri ${hasBase ? "'self'" : "'none'"}`,
    "form-action 'self'",
    "frame-ancestors 'none'",
  ].join("; ");
}
