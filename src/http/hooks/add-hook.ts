import type { Context } from "hono";
import type { PublishGate } from "../../streams/publish-gate.ts";
import { createRoute, type HttpApp, type HttpMiddleware, type HttpTypes, PROBLEMS, z } from "../http-app.ts";

/** The parts that the hooks of every dialect use. */
export interface HookParts {
  gate: PublishGate;
  /** Lets only the media server pass. */
  guard: HttpMiddleware;
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
  app: HttpApp,
  { path, summary, description, contentType, answers }: HookRoute,
  guard: HttpMiddleware,
  handle: (c: Context<HttpTypes>) => Promise<Response>,
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
  app.openAPIRegistry.registerPath(route);
  app.post(route.getRoutingPath(), guard, handle);
}
