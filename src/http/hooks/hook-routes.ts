import type { RateLimit } from "../../limits/rate-limit.ts";
import type { PublishGate } from "../../streams/publish-gate.ts";
import type { ClientAddress } from "../client-address.ts";
import type { Router } from "../router.ts";
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
  router: Router,
  { publishGate: gate, config, limitAddress, clientAddress }: HookRoutesParts,
): void {
  const guard = createHookGuard({ secrets: config.HOOK_SECRETS, limitAddress, clientAddress });
  addNginxRtmpHooks(router, { gate, guard: guard.bySecret("nginx-rtmp") });
  addSrsHooks(router, { gate, guard: guard.bySecret("srs") });
  addMediamtxHooks(router, { gate, guard: guard.bySecret("mediamtx") });
  addOvenMediaEngineHooks(router, { gate, guard: guard.bySignature("ovenmediaengine", SIGNATURE_HEADER) });
}
