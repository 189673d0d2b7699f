import type { RateLimit } from "../../limits/rate-limit.ts";
import type { PublishGate } from "../../streams/publish-gate.ts";
import type { ClientAddress } from "../client-address.ts";
import type { HttpApp } from "../http-app.ts";
import { createHookGuard } from "./hook-guard.ts";
import { addMediamtxHooks } from "./mediamtx.ts";
import { addNginxRtmpHooks } from "./nginx-rtmp.ts";
import { addOvenMediaEngineHooks, SIGNATURE_HEADER } from "./ovenmediaengine.ts";
import { addSrsHooks } from "./srs.ts";

export interface HookRoutesParts {
  publishGate: PublishGate;
  config: { HOOK_SECRETS: string[] };
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
}

/** Adds the hooks by which media servers ask over HTTP whether a key may publish, each server in its own dialect. */
export function addHookRoutes(
  app: HttpApp,
  { publishGate: gate, config, limitAddress, clientAddress }: HookRoutesParts,
): void {
  const guard = createHookGuard({ secrets: config.HOOK_SECRETS, limitAddress, clientAddress });
  addNginxRtmpHooks(app, { gate, guard: guard.bySecret("nginx-rtmp") });
  addSrsHooks(app, { gate, guard: guard.bySecret("srs") });
  addMediamtxHooks(app, { gate, guard: guard.bySecret("mediamtx") });
  addOvenMediaEngineHooks(app, { gate, guard: guard.bySignature("ovenmediaengine", SIGNATURE_HEADER) });
}
