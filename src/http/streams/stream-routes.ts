import { doc } from "../../protocol/doc.ts";
import { Id } from "../../protocol/ids.ts";
import type { Role } from "../../protocol/roles.ts";
import { ChangeStream, CreateStream, EXAMPLE_STREAM_ID, RotateStream } from "../../protocol/stream.ts";
import type { StreamService } from "../../streams/stream-service.ts";
import type { Bearer } from "../bearer.ts";
import { BEARER, createRoute, jsonBody, jsonContent, mine, PROBLEMS, pageQuery, type Router, z } from "../router.ts";
import { requireOwnStream, toOwner } from "./stream-rights.ts";
import { KeyAnswer, SessionList, StreamAnswer, StreamList, toAnswer } from "./stream-schemas.ts";

const path = "/v1/streams/{streamId}";
const params = z.object({ streamId: Id.meta(doc("The stream.", EXAMPLE_STREAM_ID)) });
/** For answers with a key: no cache on the way may keep them. */
const NO_STORE = { "cache-control": "no-store" };
const OWN = "By its owner or an admin; for everybody else the stream does not exist.";

const SWITCHES = [
  ["revoke", "End the key for good", "A live session is ended. Only `rotate` brings the stream back."],
  [
    "disable",
    "Refuse the key until `enable`",
    "A live session is ended. A `conflict` for a revoked or expired stream.",
  ],
  ["enable", "Accept the key again", "A `conflict` for a revoked or expired stream."],
] as const;

export interface StreamParts {
  streams: StreamService;
  config: { STREAM_ROLES: readonly Role[] };
  bearer: Bearer;
}

/** Adds the routes by which owners keep their streams. Media servers call the routes of `hooks/`. */
export function addStreamRoutes(router: Router, parts: StreamParts): void {
  addCollection(router, parts);
  addStream(router, parts);
  addKeySwitches(router, parts);
  addSessions(router, parts);
}

function toShared(bearer: Bearer) {
  return { tags: ["Streams"], middleware: bearer.required, security: BEARER };
}

function addCollection(router: Router, { streams, config, bearer }: StreamParts): void {
  const shared = toShared(bearer);

  const create = createRoute({
    ...shared,
    method: "post",
    path: "/v1/streams",
    operationId: "createStream",
    summary: "Make a stream, and its key",
    description:
      "The key is in this answer and in no other. An admin may name the owner by `userId`. STREAM_ROLES names the roles that may have streams.",
    request: { body: jsonBody(CreateStream) },
    responses: { 201: jsonContent(KeyAnswer, "The stream was made."), ...PROBLEMS },
  });
  router.openapi(create, async (c) => {
    const { userId, ...settings } = c.req.valid("json");
    const owner = toOwner(c.var.caller, userId, config.STREAM_ROLES);
    const { stream, streamKey } = await streams.create({ ...settings, userId: owner });
    return c.json({ stream: toAnswer(stream), streamKey }, 201, NO_STORE);
  });

  const list = createRoute({
    ...shared,
    method: "get",
    path: "/v1/streams",
    operationId: "listStreams",
    summary: "List the caller's streams, by id",
    description: "An admin sees all streams; with `mine=true` only its own.",
    request: {
      query: z.object({
        ...pageQuery({ max: 200, default: 50 }),
        mine: mine("For an admin: only the admin's own streams."),
      }),
    },
    responses: { 200: jsonContent(StreamList, "One page."), ...PROBLEMS },
  });
  router.openapi(list, async (c) => {
    const { after, limit, mine } = c.req.valid("query");
    const { role, userId } = c.var.caller;
    const found = await streams.list({
      limit: limit + 1,
      ...(after === undefined ? {} : { after }),
      ...(role === "admin" && mine !== "true" ? {} : { userId }),
    });
    const page = found.slice(0, limit).map(toAnswer);
    const next = found.length > limit ? page.at(-1)?.id : undefined;
    return c.json({ streams: page, ...(next === undefined ? {} : { next }) }, 200);
  });
}

function addStream(router: Router, { streams, bearer }: StreamParts): void {
  const shared = toShared(bearer);

  const read = createRoute({
    ...shared,
    method: "get",
    path,
    operationId: "getStream",
    summary: "Read a stream",
    description: OWN,
    request: { params },
    responses: { 200: jsonContent(StreamAnswer, "The stream as it is now."), ...PROBLEMS },
  });
  router.openapi(read, async (c) => {
    const stream = await requireOwnStream(streams, c.var.caller, c.req.valid("param").streamId);
    return c.json({ stream: toAnswer(stream) }, 200);
  });

  const change = createRoute({
    ...shared,
    method: "patch",
    path,
    operationId: "updateStream",
    summary: "Change the settings of a stream",
    description: `${OWN} Settings that the body does not name stay.`,
    request: { params, body: jsonBody(ChangeStream) },
    responses: { 200: jsonContent(StreamAnswer, "The stream as it is now."), ...PROBLEMS },
  });
  router.openapi(change, async (c) => {
    const { id } = await requireOwnStream(streams, c.var.caller, c.req.valid("param").streamId);
    return c.json({ stream: toAnswer(await streams.change(id, c.req.valid("json"))) }, 200);
  });

  const remove = createRoute({
    ...shared,
    method: "delete",
    path,
    operationId: "deleteStream",
    summary: "Delete a stream and its history",
    description: `${OWN} A \`conflict\` while the stream is live or reconnecting.`,
    request: { params },
    responses: { 204: { description: "The stream is deleted." }, ...PROBLEMS },
  });
  router.openapi(remove, async (c) => {
    const { id } = await requireOwnStream(streams, c.var.caller, c.req.valid("param").streamId);
    await streams.remove(id);
    return c.body(null, 204);
  });
}

function addKeySwitches(router: Router, { streams, bearer }: StreamParts): void {
  const shared = toShared(bearer);

  const rotate = createRoute({
    ...shared,
    method: "post",
    path: `${path}/rotate`,
    operationId: "rotateStreamKey",
    summary: "Give the stream a new key",
    description: `${OWN} The key is in this answer and in no other. The old key stays valid for \`graceSeconds\`, by default 0. A live session goes on; a revoked stream is ready again.`,
    // The body is optional: without it the old key ends at once.
    request: {
      params,
      body: { content: { "application/json": { schema: RotateStream } } },
    },
    responses: { 200: jsonContent(KeyAnswer, "The stream and its new key."), ...PROBLEMS },
  });
  router.openapi(rotate, async (c) => {
    const { id } = await requireOwnStream(streams, c.var.caller, c.req.valid("param").streamId);
    // Without a body the validator does not fill in defaults.
    const { graceSeconds = 0 } = c.req.valid("json");
    const { stream, streamKey } = await streams.rotate(id, graceSeconds);
    return c.json({ stream: toAnswer(stream), streamKey }, 200, NO_STORE);
  });

  for (const [verb, summary, effect] of SWITCHES) {
    const route = createRoute({
      ...shared,
      method: "post",
      path: `${path}/${verb}`,
      operationId: `${verb}Stream`,
      summary,
      description: `${OWN} ${effect}`,
      request: { params },
      responses: { 200: jsonContent(StreamAnswer, "The stream as it is now."), ...PROBLEMS },
    });
    router.openapi(route, async (c) => {
      const { id } = await requireOwnStream(streams, c.var.caller, c.req.valid("param").streamId);
      return c.json({ stream: toAnswer(await streams[verb](id)) }, 200);
    });
  }
}

function addSessions(router: Router, { streams, bearer }: StreamParts): void {
  const shared = toShared(bearer);

  const sessions = createRoute({
    ...shared,
    method: "get",
    path: `${path}/sessions`,
    operationId: "listStreamSessions",
    summary: "List the sessions of a stream, the newest first",
    description: `${OWN} A session is one publication, with its reconnects.`,
    request: {
      params,
      query: z.object({
        before: z.coerce
          .number()
          .int()
          .min(1)
          .max(Number.MAX_SAFE_INTEGER)
          .optional()
          .meta(doc("The `next` of the page before; without it the newest page.", 7)),
        limit: pageQuery({ max: 200, default: 50 }).limit,
      }),
    },
    responses: { 200: jsonContent(SessionList, "One page."), ...PROBLEMS },
  });
  router.openapi(sessions, async (c) => {
    const { before, limit } = c.req.valid("query");
    const { id } = await requireOwnStream(streams, c.var.caller, c.req.valid("param").streamId);
    const found = await streams.sessions(id, { limit: limit + 1, ...(before === undefined ? {} : { before }) });
    const page = found.slice(0, limit);
    const next = found.length > limit ? page.at(-1)?.id : undefined;
    return c.json({ sessions: page, ...(next === undefined ? {} : { next }) }, 200);
  });
}
