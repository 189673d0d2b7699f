import type { Context } from "hono";
import { parseWire } from "../../protocol/ack.ts";
import { doc } from "../../protocol/doc.ts";
import { Id } from "../../protocol/ids.ts";
import { EXAMPLE_STREAM_KEY } from "../../protocol/stream.ts";
import type { MediaServer, PublishedConnection } from "../../streams/publish-gate.ts";
import { jsonContent, type Router, type RouterTypes, z } from "../router.ts";
import { addHook, type HookParts, UNPUBLISHED } from "./add-hook.ts";
import { readJson } from "./hook-body.ts";
import { ClientIp, Label, readServer, toStreamKey } from "./hook-fields.ts";
import { REFUSAL_TEXTS } from "./hook-refusal.ts";

/*
 * SRS. Only status 200 with `{"code":0}` accepts; every other answer refuses or ends the publisher. The key is the stream's
 * name, or `?key=` behind a name that may then be public.
 */

const IGNORED = ["on_connect", "on_close", "on_stop", "on_dvr"] as const;
const Action = z.object({
  action: z
    .enum(["on_publish", "on_unpublish", "on_hls", "on_play", ...IGNORED])
    .meta(doc("What happened.", "on_publish")),
});

/** Older versions of SRS send a number. */
const ClientId = z.preprocess((id) => (Number.isSafeInteger(id) ? String(id) : id), Id);

const Event = z.object({
  client_id: ClientId.meta(doc("SRS's id of the connection.", "9y7x2k4p")),
  ip: ClientIp.meta(doc("The address of the encoder.", "192.0.2.7")),
  app: Label.meta(doc("The application.", "live")),
  stream: z.string().max(1024).meta(doc("The name of the stream: the key, unless `param` has one.", "lecture")),
  param: z
    .string()
    .max(4096)
    .optional()
    .meta(doc("The query behind the name of the stream; `key` is the key.", `?key=${EXAMPLE_STREAM_KEY}`)),
  server_id: Label.meta(doc("The id of the SRS server.", "vid-8u3k1")),
  service_id: Label.meta(doc("The id of this run of the SRS server.", "r9x2k")),
  duration: z
    .number()
    .min(0)
    .max(3600)
    .optional()
    .catch(undefined)
    .meta({ type: "number", ...doc("The length of the segment that on_hls reports, in seconds.", 10) }),
});
const Accepted = z.object({ code: z.literal(0).meta(doc("0 accepts.", 0)) });
type Event = z.infer<typeof Event>;

/** Adds the hook of SRS. */
export function addSrsHooks(router: Router, { gate, guard }: HookParts): void {
  const route = {
    path: "/v1/hooks/srs",
    operationId: "srsHook",
    security: "hookSecret" as const,
    body: Event.extend(Action.shape).meta({ id: "SrsEvent", ...doc("The event that SRS posts.") }),
    contentType: "application/json",
    summary: "SRS: on_publish, on_unpublish, on_hls",
    description:
      "The key is the stream's name, or `key` in the query behind it. on_hls renews the lease and is optional; on_play is refused.",
    answers: { 200: jsonContent(Accepted, 'Accepted: `{"code":0}`.') },
  };
  addHook(router, route, guard, async (c) => {
    const body = await readJson(c);
    const { action } = parseWire(Action, body);
    if (action === "on_play")
      return refuse(c, "Playhead decides about publishing only: take on_play out of http_hooks.");
    if (action !== "on_publish" && action !== "on_unpublish" && action !== "on_hls") return accept(c);

    const event = parseWire(Event, body);
    const server = readServer(c, "srs", toServer(event));
    if (action === "on_publish") {
      const { client_id: connectionId, app, ip: clientIp } = event;
      const request = { streamKey: readKey(event), connectionId, app, clientIp, protocol: "rtmp" };
      const verdict = await gate.publish(server, request, { reports: false });
      return verdict.valid ? accept(c) : refuse(c, REFUSAL_TEXTS[verdict.reason]);
    }
    const connection = toConnection(event);
    if (action === "on_hls") {
      const reason = await gate.update(server, connection, {}, { everySeconds: event.duration ?? 0 });
      return reason === null ? accept(c) : refuse(c, REFUSAL_TEXTS[reason]);
    }
    await gate.unpublish(server, connection, UNPUBLISHED);
    return accept(c);
  });
}

function accept(c: Context<RouterTypes>): Response {
  return c.json({ code: 0 });
}

function refuse(c: Context<RouterTypes>, message: string): Response {
  return c.json({ code: 1, message }, 403);
}

/** `service_id` changes with every start of SRS; old versions do not send it. */
function toServer(event: Event): MediaServer {
  return { name: event.server_id ?? "srs", boot: event.service_id ?? "" };
}

/** Old versions leave out `param` at the end. The name alone may then be public, so the connection is named by its id. */
function toConnection(event: Event): PublishedConnection {
  const { param, client_id: connectionId, app } = event;
  return { streamKey: param === undefined ? null : readKey(event), connectionId, app };
}

/** @throws AppError `bad_request` */
function readKey({ stream, param }: Event): string {
  return toStreamKey(new URLSearchParams(param ?? "").get("key") || stream, "stream");
}
