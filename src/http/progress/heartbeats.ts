import { randomUUID } from "node:crypto";
import { AppError } from "../../errors.ts";
import type { ProgressService } from "../../progress/progress-service.ts";
import { parseWire } from "../../protocol/ack.ts";
import { Heartbeat, Heartbeats, MAX_BEATS } from "../../protocol/heartbeat.ts";
import { type Bearer, readBearer } from "../bearer.ts";
import { BEARER, createRoute, type HttpApp, jsonContent, PROBLEMS, z } from "../http-app.ts";
import { FileProgressSchema } from "./progress.ts";

/** For a beacon, which cannot set headers. */
const token = z.string().optional();
const Beacon = Heartbeats.extend({ token });
/** The same, as it is described: each beat is validated by itself, and a bad one refused by itself. */
const DescribedBeacon = z
  .object({
    beats: z
      .array(Heartbeat.meta({ id: "Heartbeat" }))
      .min(1)
      .max(MAX_BEATS),
    token,
  })
  .meta({ id: "Beacon" });

const Results = z
  .object({
    ok: z.literal(true),
    results: z.array(
      z.union([
        z.object({ ok: z.literal(true), progress: FileProgressSchema, nextBeatMs: z.number() }),
        z.object({ ok: z.literal(false), error: z.object({ code: z.string(), message: z.string() }).loose() }),
      ]),
    ),
  })
  .meta({ id: "HeartbeatResults" });

const send = createRoute({
  method: "post",
  path: "/v1/heartbeats",
  tags: ["Progress"],
  summary: "Heartbeats of a page that is closing",
  description:
    "The same as the socket's `heartbeats`, one result a beat. `navigator.sendBeacon` cannot set headers: the token may come in the body, and the body as text/plain.",
  security: BEARER,
  request: {
    body: {
      required: true,
      content: { "application/json": { schema: DescribedBeacon }, "text/plain": { schema: DescribedBeacon } },
    },
  },
  responses: { 200: jsonContent(Results, "Every beat's answer, in their order; `ok: true` is durable."), ...PROBLEMS },
});

interface HeartbeatParts {
  progress: ProgressService;
  bearer: Bearer;
}

export function addHeartbeatRoutes(app: HttpApp, { progress, bearer }: HeartbeatParts): void {
  // Declared, but read here: a validator would take the body for JSON by its content-type alone.
  app.openAPIRegistry.registerPath(send);
  app.post(send.getRoutingPath(), async (c) => {
    const body = parseJson(await c.req.text());
    const caller = await bearer.authenticate(c, readBearer(c) ?? tokenOf(body));
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
