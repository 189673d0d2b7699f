import { AppError } from "../../errors.ts";
import { parseWire } from "../../protocol/ack.ts";
import { doc } from "../../protocol/doc.ts";
import { Id } from "../../protocol/ids.ts";
import { EXAMPLE_STREAM_KEY, StreamKey } from "../../protocol/stream.ts";
import type { MediaServer } from "../../streams/publish-gate.ts";
import { jsonContent, type Router, z } from "../router.ts";
import { addHook, type HookParts, UNPUBLISHED } from "./add-hook.ts";
import { readForm } from "./hook-body.ts";
import { ClientIp, Label, readServer } from "./hook-fields.ts";
import { toForbidden } from "./hook-refusal.ts";

/*
 * nginx with nginx-rtmp-module. It reads only the status of an answer: 2xx accepts, a redirect moves the stream, every
 * other status refuses, and refusing on_update ends the publisher. The form contains the query that the encoder put behind
 * its key beside nginx's own fields. So the event is taken from the path, and a field that comes twice is refused.
 */

const Published = z.object({
  name: StreamKey.meta(doc("The stream key.", EXAMPLE_STREAM_KEY)),
  clientid: Id.meta(doc("nginx's id of the connection.", "7")),
  app: Label.meta(doc("The application.", "live")),
  addr: ClientIp.meta(doc("The address of the encoder.", "192.0.2.7")),
});
/** An unreadable time is ignored: it must not end the publisher. */
const Updated = Published.extend({
  timestamp: z.coerce
    .number()
    .int()
    .min(0)
    .max(Number.MAX_SAFE_INTEGER)
    .optional()
    .catch(undefined)
    .meta({ type: "integer", ...doc("The time of the media, in ms.", 60_000) }),
});

const Accepted = z.object({ ok: z.literal(true).meta(doc("Accepted.", true)) });
const OK = { 200: jsonContent(Accepted, "Accepted.") };
const shared = {
  contentType: "application/x-www-form-urlencoded",
  security: "hookSecret" as const,
  body: Published.meta({ id: "NginxRtmpForm", ...doc("The form that nginx-rtmp posts.") }),
};
const path = (event: string) => `/v1/hooks/nginx-rtmp/${event}`;

/** nginx does not tell one of its runs from another, so it has no boot. */
const NGINX: MediaServer = { name: "nginx", boot: null };

/** Adds the hooks of nginx-rtmp-module. */
export function addNginxRtmpHooks(router: Router, { gate, guard }: HookParts): void {
  const publish = {
    ...shared,
    path: path("on_publish"),
    operationId: "nginxRtmpOnPublish",
    summary: "nginx-rtmp: ask whether an encoder may publish",
    description:
      "The stream's name is the key. An accepted stream counts as started; every status other than 2xx refuses.",
    answers: OK,
  };
  addHook(router, publish, guard, async (c) => {
    const form = await readForm(c);
    // nginx sends these fields with updates. They would come twice if the encoder's query had them, and end the publisher.
    if ("time" in form || "timestamp" in form) {
      throw new AppError("bad_request", "`time` and `timestamp` may not be in the query behind a stream key.");
    }
    const { name, clientid, app, addr } = parseWire(Published, form);
    const verdict = await gate.publish(
      readServer(c, "nginx-rtmp", NGINX),
      { streamKey: name, connectionId: clientid, app, clientIp: addr, protocol: "rtmp" },
      { reports: true },
    );
    if (!verdict.valid) throw toForbidden(verdict.reason);
    return c.json({ ok: true });
  });

  const update = {
    ...shared,
    path: path("on_update"),
    operationId: "nginxRtmpOnUpdate",
    body: Updated.meta({ id: "NginxRtmpUpdateForm", ...doc("The form that nginx-rtmp posts with on_update.") }),
    summary: "nginx-rtmp: report that a publisher is still there",
    description: "200 also while the database is away, because every other status ends the publisher.",
    answers: OK,
  };
  addHook(router, update, guard, async (c) => {
    const { name, clientid, app, timestamp } = parseWire(Updated, await readForm(c));
    const connection = { streamKey: name, connectionId: clientid, app };
    const reason = await gate.update(readServer(c, "nginx-rtmp", NGINX), connection, { mediaTimeMs: timestamp });
    if (reason !== null) throw toForbidden(reason);
    return c.json({ ok: true });
  });

  const done = {
    ...shared,
    path: path("on_publish_done"),
    operationId: "nginxRtmpOnPublishDone",
    summary: "nginx-rtmp: report that a publisher is gone",
    description: "Ignored if the stream is not live.",
    answers: OK,
  };
  addHook(router, done, guard, async (c) => {
    const { name, clientid, app } = parseWire(Published, await readForm(c));
    await gate.unpublish(
      readServer(c, "nginx-rtmp", NGINX),
      { streamKey: name, connectionId: clientid, app },
      UNPUBLISHED,
    );
    return c.json({ ok: true });
  });
}
