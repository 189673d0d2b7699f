import type { Logger } from "../logger.ts";

/** The most refused origins that are remembered, so that strangers cannot fill the log or the memory. */
const MAX_REFUSED = 100;

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
  return host !== undefined && isOriginOf(origin, host);
}

/** Whether the host is the origin's. The origin's scheme says which port is meant where the host names the default one. */
function isOriginOf(origin: string, host: string): boolean {
  if (!URL.canParse(origin)) return false;
  const { protocol, host: own, origin: whole } = new URL(origin);
  const named = `${protocol}//${host}`;
  return whole === origin && URL.canParse(named) && new URL(named).host === own && !/[/?#@\\]/.test(host);
}

/** Logs a refused origin, once each. */
export type LogRefusedOrigin = (origin: string | undefined) => void;

/** Remembers which refused origins were logged. */
export function createRefusedOrigins(logger: Pick<Logger, "warn">): LogRefusedOrigin {
  const logged = new Set<string>();
  return (given) => {
    const origin = (given ?? "").slice(0, 200);
    if (logged.has(origin) || logged.size >= MAX_REFUSED) return;
    logged.add(origin);
    logger.warn({ origin }, "a page of this origin was refused; ALLOWED_ORIGINS lists the origins that may connect");
  };
}
