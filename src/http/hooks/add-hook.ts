import type { Context } from "hono";
import { doc } from "../../protocol/doc.ts";
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
  operationId: string;
  summary: string;
  description: string;
  contentType: string;
  /** The body, for /openapi.json alone: the hook parses it when it knows who asks. */
  body: z.ZodType;
  /** How the media server proves itself: by `?secret=`, or by the signature of the body. */
  security: "hookSecret" | "hookSignature";
  /** The meaning of each answer to the media server, by status. */
  answers: Record<string, { description: string; content?: Record<string, { schema: z.ZodType }> }>;
}

/** The reason, in the stream's history, for the end of a publication that its media server reported as over. */
export const UNPUBLISHED = "unpublished";

const QUERY = z.object({
  server: z.string().optional().meta(doc("The name of the media server.", "ingest-1")),
  boot: z
    .string()
    .optional()
    .meta(doc("The run of a media server that cannot tell it itself.", "2026-11-21T08:00:00Z")),
});

/** Adds a hook. The guard checks the caller before anything reads the body, so no declared validation runs. */
export function addHook(
  router: Router,
  { path, operationId, summary, description, contentType, body, security, answers }: HookRoute,
  guard: Middleware,
  handle: (c: Context<RouterTypes>) => Promise<Response>,
): void {
  const route = createRoute({
    method: "post",
    path,
    operationId,
    security: [{ [security]: [] }],
    tags: ["Hooks of media servers"],
    summary,
    description,
    request: { query: QUERY, body: { required: true, content: { [contentType]: { schema: body } } } },
    responses: { ...answers, ...PROBLEMS },
  });
  router.openAPIRegistry.registerPath(route);
  router.post(route.getRoutingPath(), guard, handle);
}
