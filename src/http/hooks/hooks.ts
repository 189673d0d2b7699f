import type { RateLimit } from "../../limits/rate-limit.ts";
import type { PublishGate } from "../../streams/publish-gate.ts";
import type { ClientAddress } from "../client-address.ts";
import type { HttpApp } from "../http-app.ts";
import { createHookGuard } from "./hook-guard.ts";
import { addMediamtxHooks } from "./mediamtx.ts";
import { addNginxRtmpHooks } from "./nginx-rtmp.ts";
import { addOvenMediaEngineHooks, SIGNATURE_HEADER } from "./ovenmediaengine.ts";
import { addSrsHooks } from "./srs.ts";

interface HookRoutesParts {
  gate: PublishGate;
  /** As HOOK_SECRETS lists them. */
  secrets: string[];
  limitAddress: RateLimit;
  clientAddress: ClientAddress;
}

/** Where media servers that speak HTTP ask whether a key may publish, each in its own dialect. */
export function addHookRoutes(app: HttpApp, { gate, ...parts }: HookRoutesParts): void {
  const guard = createHookGuard(parts);
  addNginxRtmpHooks(app, { gate, guard: guard.bySecret("nginx-rtmp") });
  addSrsHooks(app, { gate, guard: guard.bySecret("srs") });
  addMediamtxHooks(app, { gate, guard: guard.bySecret("mediamtx") });
  addOvenMediaEngineHooks(app, { gate, guard: guard.bySignature("ovenmediaengine", SIGNATURE_HEADER) });
}
