import type { Context } from "hono";
import { AppError } from "../../errors.ts";
import { parseWire } from "../../protocol/ack.ts";
import { doc } from "../../protocol/doc.ts";
import { EXAMPLE_STREAM_KEY } from "../../protocol/stream.ts";
import type { PublishGate, PublishRequest } from "../../streams/publish-gate.ts";
import { jsonContent, type Router, type RouterTypes, z } from "../router.ts";
import { addHook, type HookParts, UNPUBLISHED } from "./add-hook.ts";
import { readJson } from "./hook-body.ts";
import { ClientIp, Protocol, readServer, toStreamKey } from "./hook-fields.ts";
import { REFUSAL_TEXTS } from "./hook-refusal.ts";

/*
 * OvenMediaEngine's admission webhooks: one signed address for opening and closing. Every decision is answered with status
 * 200, and the body accepts or refuses. OvenMediaEngine itself ends a publisher when the lifetime in the answer is over.
 */

export const SIGNATURE_HEADER = "X-OME-Signature";

const Admission = z.object({
  client: z
    .object({
      address: z.string().min(1).max(64).meta(doc("The address of the connection.", "192.0.2.7")),
      port: z.number().int().min(0).max(65_535).meta(doc("The port of the connection.", 40_312)),
      real_ip: ClientIp.meta(doc("The address of the encoder, where a proxy is between.", "192.0.2.7")),
    })
    .meta(doc("Who connects.")),
  request: z
    .object({
      direction: z.enum(["incoming", "outgoing"]).meta(doc("Publishing is `incoming`.", "incoming")),
      status: z.enum(["opening", "closing"]).meta(doc("Whether the connection begins or ends.", "opening")),
      protocol: Protocol.meta(doc("How the encoder publishes.", "rtmp")),
      url: z
        .string()
        .max(8192)
        .meta(
          doc(
            "The address; the key is its last part, or `key` in its query.",
            `rtmp://media.example.org/live/${EXAMPLE_STREAM_KEY}`,
          ),
        ),
    })
    .meta(doc("What is asked.")),
});
const Decision = z.object({
  allowed: z.boolean().optional().meta(doc("Whether the encoder may publish; absent in answers to a closing.", true)),
  lifetime: z.number().optional().meta(doc("For how long, in ms; 0 means for ever.", 0)),
  reason: z.string().optional().meta(doc("Why the encoder may not publish.", "The stream key was revoked.")),
});
type Admission = z.infer<typeof Admission>;

/** Adds the hook of OvenMediaEngine. */
export function addOvenMediaEngineHooks(router: Router, { gate, guard }: HookParts): void {
  const route = {
    path: "/v1/hooks/ovenmediaengine",
    operationId: "ovenMediaEngineHook",
    security: "hookSignature" as const,
    body: Admission.meta({ id: "OvenMediaEngineCall", ...doc("An admission webhook of OvenMediaEngine.") }),
    contentType: "application/json",
    summary: "OvenMediaEngine: admission webhooks",
    description: `Signed by \`${SIGNATURE_HEADER}\`, with the SecretKey of AdmissionWebhooks; without \`?secret=\`. The key is the last part of the address, or \`key\` in its query. Enable it for providers only.`,
    answers: {
      200: jsonContent(
        Decision.meta(doc("The decision.", { allowed: true, lifetime: 0 })),
        "`{ allowed, lifetime?, reason? }` to an opening, `{}` to a closing.",
      ),
    },
  };
  addHook(router, route, guard, async (c) => {
    const asked = parseWire(Admission, await readJson(c));
    const { direction, status } = asked.request;
    const server = readServer(c, "ovenmediaengine", { name: "ovenmediaengine", boot: "" });
    if (direction === "outgoing") {
      if (status === "closing") return c.json({});
      return refuse(c, "Playhead decides about publishing only: enable admission webhooks for providers only.");
    }
    const { key, ...publication } = toPublication(asked);
    if (status === "closing") {
      await gate.unpublish(server, { streamKey: key, connectionId: publication.connectionId }, UNPUBLISHED);
      return c.json({});
    }
    if (key === null) return refuse(c, "The address has no stream key.");
    return open(c, () => gate.publish(server, { ...publication, streamKey: key }, { reports: false }));
  });
}

async function open(c: Context<RouterTypes>, ask: () => ReturnType<PublishGate["publish"]>): Promise<Response> {
  try {
    const verdict = await ask();
    if (!verdict.valid) return refuse(c, REFUSAL_TEXTS[verdict.reason]);
    // In whole milliseconds, rounded up, because 0 would mean forever.
    return c.json({ allowed: true, lifetime: Math.ceil(verdict.lifetimeMs) });
  } catch (error) {
    // OvenMediaEngine would take another status for a broken webhook, not for a refusal.
    if (error instanceof AppError) return refuse(c, error.message);
    throw error;
  }
}

function refuse(c: Context<RouterTypes>, reason: string): Response {
  return c.json({ allowed: false, reason });
}

type Publication = Omit<PublishRequest, "streamKey"> & { key: string | null };

/** @throws AppError `bad_request` */
function toPublication({ client, request }: Admission): Publication {
  const { segments, query } = toParts(request.url);
  const name = segments.pop();
  const key = query.get("key") || name;
  return {
    key: key === undefined ? null : toStreamKey(key, "request.url"),
    connectionId: `${client.address}:${client.port}`,
    app: segments.join("/") || undefined,
    clientIp: client.real_ip ?? parseWire(ClientIp, client.address),
    protocol: request.protocol,
  };
}

/** @throws AppError `bad_request`, with a message that does not quote the address: its end is a key */
function toParts(address: string): { segments: string[]; query: URLSearchParams } {
  try {
    const url = new URL(address);
    const segments = url.pathname.split("/").filter((segment) => segment !== "");
    return { segments: segments.map(decodeURIComponent), query: url.searchParams };
  } catch {
    throw new AppError("bad_request", "request.url: expected a URL");
  }
}
