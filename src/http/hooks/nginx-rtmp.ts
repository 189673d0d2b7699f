import { AppError } from "../../errors.ts";
import { parseWire } from "../../protocol/ack.ts";
import { Id } from "../../protocol/ids.ts";
import { StreamKey } from "../../protocol/stream.ts";
import type { MediaServer } from "../../streams/publish-gate.ts";
import { type HttpApp, z } from "../http-app.ts";
import { addHook, type HookParts, UNPUBLISHED } from "./add-hook.ts";
import { readForm } from "./hook-body.ts";
import { ClientIp, Label, readServer } from "./hook-fields.ts";
import { toForbidden } from "./hook-refusal.ts";

/*
 * nginx with nginx-rtmp-module. It reads nothing of an answer but the status: 2xx is yes, a redirect moves the stream,
 * all else is no, and a no to on_update cuts a publisher. What the encoder put behind its key stands in the form beside
 * nginx's own fields, so the event comes from the path, and a field that comes twice is refused.
 */

const Published = z.object({ name: StreamKey, clientid: Id, app: Label, addr: ClientIp });
/** Milliseconds of media. Nobody is cut because they cannot be read. */
const Updated = Published.extend({
  timestamp: z.coerce.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional().catch(undefined),
});

const OK = { 200: { description: "Yes." } };
const shared = { contentType: "application/x-www-form-urlencoded" };
const path = (event: string) => `/v1/hooks/nginx-rtmp/${event}`;

/** It cannot tell one of its runs from another. */
const NGINX: MediaServer = { name: "nginx", boot: null };

export function addNginxRtmpHooks(app: HttpApp, { gate, guard }: HookParts): void {
  const publish = {
    ...shared,
    path: path("on_publish"),
    summary: "nginx-rtmp: may this encoder publish?",
    description: "The stream's name is the key. Approval is the start; every status that is not 2xx refuses.",
    answers: OK,
  };
  addHook(app, publish, guard, async (c) => {
    const form = await readForm(c);
    // nginx sends these with updates: an encoder that brings its own would be cut at the first one.
    if ("time" in form || "timestamp" in form) {
      throw new AppError("bad_request", "`time` and `timestamp` may not stand behind a stream key.");
    }
    const { name, clientid, app, addr } = parseWire(Published, form);
    const verdict = await gate.publish(
      readServer(c, NGINX),
      { streamKey: name, connectionId: clientid, app, clientIp: addr, protocol: "rtmp" },
      { reports: true },
    );
    if (!verdict.valid) throw toForbidden(verdict.reason);
    return c.json({ ok: true });
  });

  const update = {
    ...shared,
    path: path("on_update"),
    summary: "nginx-rtmp: a publisher is still there",
    description: "200 also where the database is away, since all else cuts the publisher.",
    answers: OK,
  };
  addHook(app, update, guard, async (c) => {
    const { name, clientid, app, timestamp } = parseWire(Updated, await readForm(c));
    const connection = { streamKey: name, connectionId: clientid, app };
    const reason = await gate.update(readServer(c, NGINX), connection, { mediaTimeMs: timestamp });
    if (reason !== null) throw toForbidden(reason);
    return c.json({ ok: true });
  });

  const done = {
    ...shared,
    path: path("on_publish_done"),
    summary: "nginx-rtmp: a publisher is gone",
    description: "What is not live is ignored.",
    answers: OK,
  };
  addHook(app, done, guard, async (c) => {
    const { name, clientid, app } = parseWire(Published, await readForm(c));
    await gate.unpublish(readServer(c, NGINX), { streamKey: name, connectionId: clientid, app }, UNPUBLISHED);
    return c.json({ ok: true });
  });
}
