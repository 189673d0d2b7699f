import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Stream } from "../../src/protocol/stream.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { ExampleCheck } from "../helpers/described-document.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { type Client, connect } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * /openapi.json and /asyncapi.json against the server that serves them: their examples are accepted, and what the server
 * sends is as they say.
 */

type Json = Record<string, unknown>;
type Namespace = "/player" | "/dashboard" | "/rtmp";

interface Message {
  name: string;
  payload: Json;
  examples: { payload: Json }[];
}

interface SocketOperation {
  action: "receive" | "send";
  channel: { $ref: string };
  messages: { $ref: string }[];
  reply?: { messages: { $ref: string }[] };
}

interface AsyncApi {
  channels: Record<string, { address: Namespace; messages: Record<string, Message> }>;
  operations: Record<string, SocketOperation>;
}

interface HttpOperation {
  parameters?: { name: string; in: string; example: unknown }[];
  requestBody?: { content: Record<string, { example: unknown }> };
}

const SECRET = "a secret of the media servers";
const NAMESPACES: Namespace[] = ["/player", "/dashboard", "/rtmp"];
const GATEWAY = new URL("../../src/gateway/", import.meta.url);

let database: TestDatabase;
let server: ServerProcess;
let asyncApi: AsyncApi;
let check: ExampleCheck;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServerProcess({
    env: serverEnv(database, { DEMO: "true", RTMP_SECRETS: SECRET, HOOK_SECRETS: SECRET, LOG_LEVEL: "error" }),
  });
  asyncApi = (await read("/asyncapi.json")) as AsyncApi;
  check = new ExampleCheck(asyncApi as never, "7");
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

async function read(path: string): Promise<unknown> {
  return await (await fetch(server.url + path)).json();
}

function operationsOf(namespace: Namespace, action: SocketOperation["action"]) {
  return Object.values(asyncApi.operations).filter(
    (operation) => operation.action === action && operation.channel.$ref === `#/channels/${namespace.slice(1)}`,
  );
}

function messageOf({ $ref }: { $ref: string }): Message {
  const [, , channel, , key] = $ref.split("/") as [string, string, string, string, string];
  return asyncApi.channels[channel]?.messages[key] as Message;
}

const nameOf = ({ messages: [first] }: SocketOperation) => messageOf(first as { $ref: string }).name;

/** The operation of a call or an event. */
function findOperation(namespace: Namespace, action: SocketOperation["action"], name: string): SocketOperation {
  const found = operationsOf(namespace, action).find((operation) => nameOf(operation) === name);
  if (found === undefined) throw new Error(`/asyncapi.json does not know ${name} of ${namespace}`);
  return found;
}

/** Expects the value to be one of the messages. */
function expectOneOf(messages: { $ref: string }[], value: unknown): void {
  const refusals = messages.map(({ $ref }) => check.refusal(`${$ref}/payload`, value));
  expect(refusals.filter((refusal) => refusal !== null).length, refusals.join("\n")).toBeLessThan(messages.length);
}

async function open(namespace: Namespace, userId: string, auth: Json = {}): Promise<Client> {
  const token = await mintToken(userId, namespace === "/dashboard" ? "admin" : "learner");
  const whole = namespace === "/rtmp" ? { secret: SECRET, server: "ingest-1", boot: "1" } : { token, ...auth };
  return connect(server.url, namespace, token, { auth: whole });
}

/** Sends a documented call by its examples, with some of their fields replaced. Expects a documented ack that is no refusal. */
async function tryCall(client: Client, namespace: Namespace, name: string, replaced: Json = {}): Promise<Json[]> {
  const operation = findOperation(namespace, "receive", name);
  const answers: Json[] = [];
  for (const { payload } of messageOf(operation.messages[0] as { $ref: string }).examples) {
    const answer = await client.call(name, { ...payload, ...replaced });
    expect(answer, name).toMatchObject({ ok: true });
    expectOneOf(
      (operation.reply?.messages ?? []).filter(({ $ref }) => !$ref.endsWith("/refused")),
      answer,
    );
    answers.push(answer as unknown as Json);
  }
  return answers;
}

async function expectEvent(client: Client, namespace: Namespace, name: string): Promise<void> {
  expectOneOf(findOperation(namespace, "send", name).messages, await client.hear<unknown>(name));
}

describe("the AsyncAPI document", () => {
  it.each(NAMESPACES)("names the calls that the gateway takes in %s, and no others", async (namespace) => {
    const client = await open(namespace, "cleo");
    const answer = await client.call("no such call", {});
    client.close();
    const taken = answer.ok
      ? []
      : (answer.error.message.split("the calls are ")[1]?.replace(/\.$/, "").split(", ") ?? []);
    const documented = operationsOf(namespace, "receive").map(nameOf);
    expect(documented.filter((name) => name !== "handshake").sort()).toEqual(taken.sort());
  });

  it("names the events that the gateway sends, and no others", () => {
    const source = readdirSync(GATEWAY)
      .filter((name) => !name.includes(".test."))
      .map((name) => readFileSync(new URL(name, GATEWAY), "utf8"))
      .join("\n");
    const sent = [...source.matchAll(/emit\("([^"]+)"|\["(\w+)",`/g)].map(([, emitted, written]) => emitted ?? written);
    const documented = NAMESPACES.flatMap((namespace) => operationsOf(namespace, "send").map(nameOf));
    expect([...new Set(documented)].sort()).toEqual([...new Set(sent)].sort());
  });

  it("tells what a player is answered and sent", async () => {
    const player = await open("/player", "bob");
    const brief = await open("/player", "bob", { acks: "brief" });
    await tryCall(player, "/player", "heartbeat");
    await expectEvent(brief, "/player", "progress");
    await tryCall(brief, "/player", "heartbeat", { seq: 2, played: [[0, 1]] });
    const [again] = await tryCall(brief, "/player", "heartbeat", { seq: 3, position: 8.1, played: [[8, 8.1]] });
    expect(again).not.toHaveProperty("progress");
    await tryCall(player, "/player", "heartbeats");
    expect(await tryCall(player, "/player", "progress:get", { minVersion: 1 })).toHaveLength(2);
    await tryCall(player, "/player", "token:refresh", { token: await mintToken("bob", "learner", 5) });
    await expectEvent(player, "/player", "session:expiring");
    await tryCall(player, "/player", "progress:reset");
    expectOneOf([{ $ref: "#/channels/player/messages/refused" }], await player.call("heartbeat", { position: -1 }));
    player.socket.emit("heartbeat", {});
    await expectEvent(player, "/player", "problem");
    player.close();
    brief.close();
  });

  it("tells what a dashboard is answered and sent", async () => {
    const dashboard = await open("/dashboard", "root");
    const player = await open("/player", "dan");
    await tryCall(dashboard, "/dashboard", "subscribe");
    await player.call("heartbeat", { fileId: "demo-intro", position: 4, played: [[0, 4]] });
    await expectEvent(dashboard, "/dashboard", "update");
    await tryCall(dashboard, "/dashboard", "unsubscribe");
    await putCourse(server.url, "short-lived", { title: "Short-lived", lessons: [] });
    await tryCall(dashboard, "/dashboard", "subscribe", { topic: "course:short-lived" });
    const authorization = `Bearer ${await mintToken("root", "admin")}`;
    await fetch(`${server.url}/v1/courses/short-lived`, { method: "DELETE", headers: { authorization } });
    await expectEvent(dashboard, "/dashboard", "unsubscribed");
    dashboard.close();
    player.close();
  });

  it("tells what a media server is answered and sent", async () => {
    const headers = {
      authorization: `Bearer ${await mintToken("ines", "instructor")}`,
      "content-type": "application/json",
    };
    const made = await fetch(`${server.url}/v1/streams`, { method: "POST", headers, body: '{"title":"Lecture"}' });
    const { stream, streamKey } = (await made.json()) as { stream: Stream; streamKey: string };
    const mediaServer = await open("/rtmp", "ingest-1");
    const [refused] = await tryCall(mediaServer, "/rtmp", "stream:validate");
    expect(refused).toMatchObject({ valid: false });
    const [admitted] = await tryCall(mediaServer, "/rtmp", "stream:validate", { streamKey });
    const { sessionId } = admitted as { sessionId: string };
    await tryCall(mediaServer, "/rtmp", "stream:started", { sessionId });
    await tryCall(mediaServer, "/rtmp", "stream:stats", { sessionId });
    await tryCall(mediaServer, "/rtmp", "stream:ended", { sessionId });
    const [second] = await tryCall(mediaServer, "/rtmp", "stream:validate", { streamKey, connectionId: "8" });
    await tryCall(mediaServer, "/rtmp", "stream:started", { sessionId: second?.sessionId });
    await fetch(`${server.url}/v1/streams/${stream.id}/revoke`, { method: "POST", headers });
    await expectEvent(mediaServer, "/rtmp", "stream:drop");
    mediaServer.close();
  });
});

describe("the OpenAPI document", () => {
  it("has examples that the server accepts", async () => {
    const { paths } = (await read("/openapi.json")) as { paths: Record<string, Record<string, HttpOperation>> };
    const operations = Object.entries(paths).flatMap(([path, methods]) =>
      Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
    );
    // What deletes comes last, or the others would find nothing.
    operations.sort((a, b) => Number(a.method === "DELETE") - Number(b.method === "DELETE"));
    const authorization = `Bearer ${await mintToken("root", "admin")}`;
    const refused: string[] = [];
    for (const { method, path, operation } of operations) {
      const { parameters = [], requestBody } = operation;
      const given = (place: string) => parameters.filter((parameter) => parameter.in === place);
      const address = path.replace(/\{(\w+)\}/g, (_, name) =>
        encodeURIComponent(String(given("path").find((parameter) => parameter.name === name)?.example)),
      );
      const query = new URLSearchParams(given("query").map(({ name, example }) => [name, String(example)]));
      if (path.startsWith("/v1/hooks/")) query.set("secret", SECRET);
      const [type, media] = Object.entries(requestBody?.content ?? {})[0] ?? [];
      const body =
        type === "application/x-www-form-urlencoded" ? toForm(media?.example as Json) : JSON.stringify(media?.example);
      const response = await fetch(`${server.url}${address}?${query}`, {
        method,
        headers: { authorization, ...(type === undefined ? {} : { "content-type": type }) },
        ...(type === undefined ? {} : { body }),
      });
      if ([400, 405, 413, 415, 500].includes(response.status))
        refused.push(`${method} ${path}: ${response.status} ${await response.text()}`);
    }
    expect(refused).toEqual([]);
  });
});

function toForm(fields: Json): string {
  return String(new URLSearchParams(Object.entries(fields).map(([name, value]) => [name, String(value)])));
}
