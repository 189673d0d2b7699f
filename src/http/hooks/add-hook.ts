import type { Context } from "hono";
import type { PublishGate } from "../../streams/publish-gate.ts";
import { createRoute, type HttpApp, type HttpMiddleware, type HttpTypes, PROBLEMS, z } from "../http-app.ts";

/** What a dialect's hooks are made of. */
export interface HookParts {
  gate: PublishGate;
  /** Lets nobody pass but the media server. */
  guard: HttpMiddleware;
}

interface HookRoute {
  path: string;
  summary: string;
  description: string;
  contentType: string;
  /** By status, what each answer means to the media server. */
  answers: Record<string, { description: string }>;
}

/** How a publication ended that its media server reports as over, in the stream's history. */
export const UNPUBLISHED = "unpublished";

const Posted = z.object({}).loose();
const QUERY = z.object({ secret: z.string().optional(), server: z.string().optional(), boot: z.string().optional() });

/** Adds a hook. Declared, but read by itself: who calls is judged before anything of the body is. */
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
