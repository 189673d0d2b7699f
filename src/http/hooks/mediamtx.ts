import { createHash } from "node:crypto";
import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import { parseWire } from "../../protocol/ack.ts";
import { doc } from "../../protocol/doc.ts";
import { EXAMPLE_STREAM_KEY } from "../../protocol/stream.ts";
import type { MediaServer, PublishedConnection, PublishGate, PublishRequest } from "../../streams/publish-gate.ts";
import { type Router, type RouterTypes, z } from "../router.ts";
import { addHook, type HookParts, UNPUBLISHED } from "./add-hook.ts";
import { readJson } from "./hook-body.ts";
import { ClientIp, Label, Protocol, readServer, toStreamKey } from "./hook-fields.ts";
import { toForbidden } from "./hook-refusal.ts";

/*
 * MediaMTX. It asks by its HTTP authentication, but only at the start of a publication. So its command hooks (runOnReady,
 * runOnNotReady) post two actions of our own, `update` and `unpublish`. 2xx accepts. 401 asks the client for credentials:
 * RTSP clients send none before.
 */

const ASKED_ELSEWHERE = ["read", "playback", "api", "metrics", "pprof"] as const;
const Action = z.object({
  action: z.enum(["publish", "update", "unpublish", ...ASKED_ELSEWHERE]).meta(doc("What is asked.", "publish")),
});

/** Longer than any key, so that too long a key is refused with a message of its own. */
const Text = z.string().max(4096).nullish();
const Connection = z.object({
  id: Label.nullable().meta(doc("MediaMTX's id of the connection.", "b3f0c1d2")),
  ip: ClientIp.nullable().meta(doc("The address of the encoder.", "192.0.2.7")),
  path: Text.meta(doc("The path, whose last part may be the key.", "live/lecture")),
});
const Publish = Connection.extend({
  password: Text.meta(doc("The password of the encoder: the key.", EXAMPLE_STREAM_KEY)),
  token: Text.meta(doc("The bearer token of the encoder: the key, where there is no password.", EXAMPLE_STREAM_KEY)),
  query: Text.meta(doc("The query, in which `key` may be the key.", `key=${EXAMPLE_STREAM_KEY}`)),
  protocol: Protocol.nullable().meta(doc("How the encoder publishes.", "rtmp")),
});
type Connection = z.infer<typeof Connection>;
type Publish = z.infer<typeof Publish>;

/** Adds the hook of MediaMTX. */
export function addMediamtxHooks(router: Router, { gate, guard }: HookParts): void {
  const route = {
    path: "/v1/hooks/mediamtx",
    operationId: "mediamtxHook",
    security: "hookSecret" as const,
    body: Publish.extend(Action.shape).meta({
      id: "MediamtxCall",
      ...doc("What MediaMTX, or one of its hooks, posts."),
    }),
    contentType: "application/json",
    summary: "MediaMTX: HTTP authentication of publishers",
    description:
      "The key is the password, else the token, else `key` in the query, else the last part of the path. Other actions belong in authHTTPExclude. `update` and `unpublish` are for runOnReady and runOnNotReady, with the same `id` as publish.",
    answers: { 204: { description: "Accepted." } },
  };
  addHook(router, route, guard, async (c) => {
    const body = await readJson(c);
    const { action } = parseWire(Action, body);
    const server = readServer(c, "mediamtx", { name: "mediamtx", boot: "" });
    switch (action) {
      case "publish":
        return publish(c, gate, server, parseWire(Publish, body));
      case "update": {
        const reason = await gate.update(server, toConnection(parseWire(Connection, body)), {});
        if (reason !== null) throw toForbidden(reason);
        return c.body(null, 204);
      }
      case "unpublish":
        await gate.unpublish(server, toConnection(parseWire(Connection, body)), UNPUBLISHED);
        return c.body(null, 204);
      default:
        throw new AppError("forbidden", `Playhead decides about publishing only: list ${action} in authHTTPExclude.`);
    }
  });
}

async function publish(
  c: Context<RouterTypes>,
  gate: PublishGate,
  server: MediaServer,
  asked: Publish,
): Promise<Response> {
  const { connectionId } = toConnection(asked);
  const { ip, protocol } = asked;
  const segments = asked.path?.split("/").filter((segment) => segment !== "") ?? [];
  const name = segments.pop();
  const key = readCredential(asked) ?? name;
  if (key === undefined) throw askForCredentials();
  const request: PublishRequest = {
    streamKey: toStreamKey(key, "password"),
    connectionId,
    // The path without its last part, which may be the key.
    app: parseWire(Label, segments.join("/")),
    clientIp: ip ?? undefined,
    protocol: protocol ?? undefined,
  };
  const verdict = await gate.publish(server, request, { reports: false }).catch((error: unknown) => {
    // Clients that were not asked for a key yet use up their server's allowance of wrong keys. A client with the right key
    // must still be asked for it.
    if (readCredential(asked) === null && error instanceof AppError && error.code === "rate_limited") return null;
    throw error;
  });
  if (verdict?.valid) return c.body(null, 204);
  if (verdict === null || (verdict.reason === "unknown" && readCredential(asked) === null)) throw askForCredentials();
  throw toForbidden(verdict.reason);
}

/** The key that the client gave elsewhere than in the path. */
function readCredential({ password, token, query }: Publish): string | null {
  return password || token || new URLSearchParams(query ?? "").get("key") || null;
}

function askForCredentials(): AppError {
  return new AppError(
    "unauthenticated",
    "The stream key must come as password, as token, as `key` in the query, or in the path.",
  );
}

/**
 * The connection by its id alone, because command hooks do not know a key that came as a password.
 * @throws AppError `bad_request`
 */
function toConnection({ id, ip, path }: Connection): PublishedConnection {
  if (id) return { streamKey: null, connectionId: id };
  if (!ip || !path) throw new AppError("bad_request", "id: expected the id of the connection");
  // A digest, because connection ids are stored, and the path may contain the key.
  return { streamKey: null, connectionId: createHash("sha256").update(`${ip}:${path}`).digest("base64url") };
}
