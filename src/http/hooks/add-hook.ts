import type { Context } from "hono";
import type { PublishGate } from "../../streams/publish-gate.ts";
import { createRoute, type Middleware, PROBLEMS, type Router, type RouterTypes, z } from "../router.ts";

/** The parts that the hooks of every dialect use. */
export interface HookParts {
  gate: PublishGate;
  /** Lets only the media server pass. */
  guard: Middleware;
}

interface HookRoute {
  path: string;
  summary: string;
  description: string;
  contentType: string;
  /** The meaning of each answer to the media server, by status. */
  answers: Record<string, { description: string }>;
}

/** The reason, in the stream's history, for the end of a publication that its media server reported as over. */
export const UNPUBLISHED = "unpublished";

const Posted = z.object({}).loose();
const QUERY = z.object({ secret: z.string().optional(), server: z.string().optional(), boot: z.string().optional() });

/** Adds a hook. The guard checks the caller before anything reads the body, so no declared validation runs. */
export function addHook(
  router: Router,
  { path, summary, description, contentType, answers }: HookRoute,
  guard: Middleware,
  handle: (c: Context<RouterTypes>) => Promise<Response>,
): void {
  const route = createRoute({
    method: "post",
    path,
    tags: ["Hooks of media servers"],
    summary,
    description,
    request: { query: QUERY, body: { required: true, content: { [contentType]: { schema: Posted } } } },
    responses: { ...answers, ...PROBLEMS },
  });
  router.openAPIRegistry.registerPath(route);
  router.post(route.getRoutingPath(), guard, handle);
}
