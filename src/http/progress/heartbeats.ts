import { randomUUID } from "node:crypto";
import { AppError } from "../../errors.ts";
import type { SharedProgressService } from "../../progress/progress-service.ts";
import { parseWire } from "../../protocol/ack.ts";
import { HeartbeatAck, Refused } from "../../protocol/acks.ts";
import { doc } from "../../protocol/doc.ts";
import { countBeats, DescribedHeartbeats, EXAMPLE_BEAT, Heartbeats } from "../../protocol/heartbeat.ts";
import { EXAMPLE_TOKEN } from "../../protocol/token.ts";
import { type Bearer, readBearer } from "../bearer.ts";
import { BEARER, createRoute, jsonContent, PROBLEMS, type Router, z } from "../router.ts";

/** The token in the body, because a beacon cannot set headers. */
const token = z.string().optional().meta(doc("The token, where the header cannot carry it.", EXAMPLE_TOKEN));
const Beacon = Heartbeats.extend({ token });
/** The body as /openapi.json describes it. The route itself validates each beat apart, so that a bad one is refused alone. */
const DescribedBeacon = DescribedHeartbeats.extend({ token }).meta({
  id: "Beacon",
  ...doc("The beats that a player has kept.", { beats: [EXAMPLE_BEAT] }),
});

const Results = z
  .object({
    ok: z.literal(true).meta(doc("Every beat has a result.", true)),
    results: z
      .array(z.union([HeartbeatAck, Refused]).meta(doc("The ack of one beat.")))
      .meta(doc("The results, in the order of the beats.")),
  })
  .meta({ id: "HeartbeatResults", ...doc("What became of each beat.") });

const send = createRoute({
  method: "post",
  path: "/v1/heartbeats",
  operationId: "sendHeartbeats",
  tags: ["Progress"],
  summary: "Send heartbeats without a socket",
  description:
    "The same as the socket's `heartbeats`, with one result for each beat: for a page that is closing, and for clients without sockets. `navigator.sendBeacon` cannot set headers, so the token may come in the body, and the body as text/plain.",
  security: BEARER,
  request: {
    body: {
      required: true,
      content: { "application/json": { schema: DescribedBeacon }, "text/plain": { schema: DescribedBeacon } },
    },
  },
  responses: {
    200: jsonContent(Results, "The results, in the order of the beats; `ok: true` means durable."),
    ...PROBLEMS,
  },
});

export interface HeartbeatParts {
  progress: SharedProgressService;
  bearer: Bearer;
}

/** Adds the route that takes heartbeats without a socket. */
export function addHeartbeats(router: Router, { progress, bearer }: HeartbeatParts): void {
  // The route reads the body itself: a declared validator would refuse JSON that comes as text/plain.
  router.openAPIRegistry.registerPath(send);
  router.post(send.getRoutingPath(), async (c) => {
    const body = parseJson(await c.req.text());
    const caller = await bearer.authenticate(c, readBearer(c) ?? tokenOf(body), countBeats(body));
    const { beats } = parseWire(Beacon, body);
    const source = { userId: caller.userId, connectionId: `http:${randomUUID()}` };
    return c.json({ ok: true, results: await progress.heartbeats(source, beats) }, 200);
  });
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new AppError("bad_request", "The body is not JSON.", { cause });
  }
}

function tokenOf(body: unknown): string | undefined {
  const token = (body as { token?: unknown } | null)?.token;
  return typeof token === "string" ? token : undefined;
}
