import { connections } from "./connections/connections.ts";
import { fanout } from "./fanout/fanout.ts";
import { growth } from "./growth/growth.ts";
import type { Subcommand } from "./harness/section.ts";
import { ingest } from "./ingest/ingest.ts";
import { soak } from "./soak/soak.ts";
import { validate } from "./validate/validate.ts";

/** In the order of the page. */
export const SUBCOMMANDS: readonly Subcommand[] = [ingest, fanout, connections, validate, soak, growth];
