import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { Subscribe } from "../../src/protocol/dashboard.ts";
import { Heartbeat } from "../../src/protocol/heartbeat.ts";
import { StreamEnded, StreamStarted, StreamStats, StreamValidate } from "../../src/protocol/stream.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { exampleOf, toJsonText, withEachField } from "../helpers/field-values.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { type Client, connect, connectRaw } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * Every field of every route and every event, with values that no client should send. The server may refuse them, and never
 * with `internal`: that would be a fault of its own.
 */

type Json = Record<string, unknown>;
interface Operation {
  parameters?: { name: string; in: string; schema: Json }[];
  requestBody?: { content: Record<string, { schema: Json }> };
}
interface Document {
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Json };
}

const SECRET = "a secret of media servers";
const COURSE = {
  title: "Course",
  lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "File", durationSeconds: 100 }] }],
};
const AT_ONCE = 8;
/** Properties of which a request has only one of several. */
const LEFT_OUT: Record<string, string> = { "/v1/auth/login": "email" };
/** A request that is refused so before a field is replaced would show nothing of its fields. */
const BLIND = new Set([400, 401, 403, 405, 413, 415, 429]);

let database: TestDatabase;
let server: ServerProcess;
let admin: string;
let documented: Document;
let lastAddress = 0;

beforeAll(async () => {
  database = await createTestDatabase();
  const limits = { RATE_LIMIT_BURST: "1000000", RATE_LIMIT_PER_SECOND: "1000000", MAX_STREAMS_PER_USER: "100000" };
  const secrets = { HOOK_SECRETS: SECRET, RTMP_SECRETS: SECRET };
  const env = { DEMO: "true", TRUST_PROXY: "true", LOG_LEVEL: "error", ...limits, ...secrets };
  server = await startServerProcess({ env: serverEnv(database, env) });
  admin = await mintToken("root", "admin");
  documented = (await (await fetch(`${server.url}/openapi.json`)).json()) as Document;
});
afterAll(async () => {
  expect(await server.stop()).toBe(0);
  expect(server.process.stderr()).toBe("");
  await database.drop();
});

/** Does the work on all items, a few at once. */
async function forEach<T>(items: Iterable<T>, work: (item: T) => Promise<void>): Promise<void> {
  const rest = items[Symbol.iterator]();
  const run = async () => {
    for (let next = rest.next(); !next.done; next = rest.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, run));
}

/** A request as parts that can be replaced one by one. */
interface Parts {
  path: Json;
  query: Json;
  body?: unknown;
}

function toText(value: unknown): string {
  return typeof value === "string" ? value : toJsonText(value);
}

/** Encodes a text, a lone surrogate as its three bytes, which encodeURIComponent refuses. */
function encode(value: unknown): string {
  const text = toText(value);
  // The fetch standard shortens these segments.
  if (text === "." || text === "..") return text.replaceAll(".", "%252e");
  return text.isWellFormed() ? encodeURIComponent(text) : "%ED%A0%80";
}

async function send(method: string, path: string, type: string | undefined, parts: Parts): Promise<Response> {
  const address = path.replace(/\{(\w+)\}/g, (_, name) => encode(parts.path[name]));
  const query = Object.entries(parts.query).map(([name, value]) => `${name}=${encode(value)}`);
  const headers = new Headers({ authorization: `Bearer ${admin}` });
  lastAddress += 1;
  headers.set("x-forwarded-for", `10.${lastAddress >> 16}.${(lastAddress >> 8) & 255}.${lastAddress & 255}`);
  if (type !== undefined) headers.set("content-type", type);
  const toField = ([name, value]: [string, unknown]) => `${encode(name)}=${encode(value)}`;
  const body =
    type === "application/x-www-form-urlencoded"
      ? Object.entries(parts.body ?? {})
          .map(toField)
          .join("&")
      : toJsonText(parts.body ?? null);
  return await fetch(`${server.url}${address}${query.length > 0 ? `?${query.join("&")}` : ""}`, {
    method,
    headers,
    signal: AbortSignal.timeout(30_000),
    ...(type === undefined ? {} : { body }),
  });
}

/** Sends the operation with each of its fields replaced. @returns the status before it, and what was `internal` */
async function replaceFields(method: string, path: string, operation: Operation, known: Json) {
  const { schemas } = documented.components;
  const example = (place: string) =>
    Object.fromEntries(
      (operation.parameters ?? [])
        .filter((parameter) => parameter.in === place)
        .map(({ name, schema }) => [name, exampleOf(schema, known, schemas, name)]),
    );
  const [type, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const body = content === undefined ? undefined : exampleOf(content.schema, known, schemas);
  if (path in LEFT_OUT) delete (body as Json)[LEFT_OUT[path] as string];
  const query = path.startsWith("/v1/hooks/") ? { ...example("query"), secret: SECRET } : example("query");
  const whole: Parts = { path: example("path"), query, ...(content === undefined ? {} : { body }) };
  const { status } = await send(method, path, type, whole);
  const internal: string[] = [];
  await forEach(withEachField(whole), async ({ field, payload }) => {
    // The whole, and the path or the query as a whole, are no fields of a request.
    if (["", "path", "query"].includes(field)) return;
    const parts = payload as Parts;
    const response = await send(method, path, type, parts);
    const text = await response.text();
    if (response.status === 500 || /"code":"internal"/.test(text)) {
      internal.push(`${method} ${path}, ${field}: ${toJsonText(parts).slice(0, 300)}`);
    }
  });
  return { status, internal };
}

describe("over HTTP", () => {
  it("no field of any route that /openapi.json names is answered with `internal`", async () => {
    await putCourse(server.url, "c1", COURSE);
    const made = await fetch(`${server.url}/v1/streams`, {
      method: "POST",
      headers: { authorization: `Bearer ${admin}`, "content-type": "application/json" },
      body: JSON.stringify({ title: "Stream" }),
    });
    const { stream, streamKey } = (await made.json()) as { stream: { id: string }; streamKey: string };
    const hook = await fetch(`${server.url}/v1/webhooks`, {
      method: "POST",
      headers: { authorization: `Bearer ${admin}`, "content-type": "application/json" },
      body: JSON.stringify({ url: "http://127.0.0.1:9/hook", events: ["stream_live"] }),
    });
    const { webhook } = (await hook.json()) as { webhook: { id: string } };
    const known = {
      courseId: "c1",
      lessonId: "l1",
      fileId: "f1",
      file_id: "f1",
      userId: "alice",
      streamId: stream.id,
      id: "f1",
      username: "carol",
      email: "carol@example.org",
      password: "a long password",
      expiresAt: "2030-01-01T00:00:00Z",
      completionThreshold: 0.9,
      durationSeconds: 100,
      startSeconds: 1,
      creditsAtSeconds: 90,
      secret: SECRET,
      name: streamKey,
      stream: streamKey,
      mine: "true",
      webhookId: webhook.id,
      url: "http://127.0.0.1:9/hook",
      statementId: "9d1a9f3e-6b0a-4b43-8f3e-2b1f6a0c7d55",
      agent: "alice",
      since: "2026-01-01T00:00:00Z",
      until: "2026-01-01T00:00:00Z",
      cursor: "2026-01-01T00:00:00.000Z_1",
      before: "1",
      // A place in lists by time; lists by id take it as an id.
      after: Buffer.from(JSON.stringify({ value: "2026-01-01T00:00:00Z", id: "f1" })).toString("base64url"),
    };
    const operations = Object.entries(documented.paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
    );
    // What deletes comes last, or the others would find nothing.
    operations.sort((a, b) => Number(a.method === "DELETE") - Number(b.method === "DELETE"));
    expect(operations.length).toBeGreaterThan(20);
    const internal: string[] = [];
    const unseen: string[] = [];
    for (const { method, path, operation } of operations) {
      const found = await replaceFields(method, path, operation, known);
      internal.push(...found.internal);
      // A hook is refused by the status that its media server understands, whatever the reason.
      if (BLIND.has(found.status) && !path.startsWith("/v1/hooks/"))
        unseen.push(`${found.status} to ${method} ${path}`);
    }
    expect(internal).toEqual([]);
    expect(unseen).toEqual([]);
  }, 600_000);
});

describe("over sockets", () => {
  const target = z.object({ fileId: z.string() });
  const courseTarget = z.object({ courseId: z.string(), minVersion: z.number() });
  const refresh = z.object({ token: z.string() });
  const EVENTS: Record<"/player" | "/dashboard" | "/rtmp", Record<string, z.ZodType[]>> = {
    "/player": {
      heartbeat: [Heartbeat],
      heartbeats: [z.object({ beats: z.array(Heartbeat) })],
      "progress:get": [target, courseTarget],
      "progress:reset": [target, courseTarget],
      "token:refresh": [refresh],
    },
    "/dashboard": { subscribe: [Subscribe], unsubscribe: [Subscribe], "token:refresh": [refresh] },
    "/rtmp": {
      "stream:validate": [StreamValidate],
      "stream:started": [StreamStarted],
      "stream:stats": [StreamStats],
      "stream:ended": [StreamEnded],
    },
  };
  const known = { fileId: "f1", courseId: "c1", topic: "course:c1", connectionId: "1", streamKey: "a key" };

  function authOf(namespace: keyof typeof EVENTS): Json {
    return namespace === "/rtmp" ? { secret: SECRET, server: "m1", boot: "b1" } : { token: admin };
  }

  it.each(Object.keys(EVENTS) as (keyof typeof EVENTS)[])(
    "no field of any event of %s is acked `internal`",
    async (namespace) => {
      await putCourse(server.url, "c1", COURSE);
      const client: Client = await connect(server.url, namespace, admin, { auth: authOf(namespace) });
      const raw = await connectRaw(server.url);
      raw.send(`40${namespace},${JSON.stringify(authOf(namespace))}`);
      await raw.hear((frame) => frame.startsWith(`40${namespace},`));

      const unknown = await client.call("no such call", {});
      const message = unknown.ok ? "" : unknown.error.message;
      expect(message.split("the calls are ")[1]?.replace(/\.$/, "").split(", ").sort()).toEqual(
        Object.keys(EVENTS[namespace]).sort(),
      );
      const internal: string[] = [];
      for (const [event, schemas] of Object.entries(EVENTS[namespace])) {
        for (const schema of schemas) {
          const described = z.toJSONSchema(schema, { io: "input", unrepresentable: "any" }) as Json;
          const example = exampleOf(described, known, described.$defs as Json);
          await forEach(withEachField(example), async ({ payload }) => {
            const text = toJsonText([event, payload]);
            const answer = await raw.callRaw(namespace, text);
            if (JSON.stringify(answer).includes('"code":"internal"')) internal.push(text.slice(0, 300));
          });
        }
      }
      client.close();
      raw.close();
      expect(internal).toEqual([]);
    },
    120_000,
  );

  it.each(["/player", "/dashboard", "/rtmp"] as const)(
    "no field of a handshake of %s is refused as `internal`",
    async (namespace) => {
      const internal: string[] = [];
      await forEach(withEachField({ ...authOf(namespace), acks: "brief" }), async ({ payload }) => {
        const text = toJsonText(payload);
        const client = await connectRaw(server.url);
        client.send(`40${namespace},${text}`);
        const closed = client.closed.then(() => "");
        const answer = await Promise.race([client.hear((frame) => /^4[04]/.test(frame)), closed]);
        if (answer.includes('"code":"internal"')) internal.push(text.slice(0, 300));
        client.close();
      });
      expect(internal).toEqual([]);
    },
    60_000,
  );
});
