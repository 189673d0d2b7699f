import { Parser } from "@asyncapi/parser";
import { describe, expect, it } from "vitest";
import { ExampleCheck, findBareFields } from "../../../test/helpers/described-document.ts";
import { SOCKET_CONTRACT } from "../../protocol/socket-contract.ts";
import { toAsyncApi } from "./asyncapi.ts";
import { renderSockets } from "./sockets-page.ts";

type Json = Record<string, unknown>;

interface Message {
  name: string;
  summary: string;
  payload: Json;
  examples: { payload: unknown }[];
}

const document = toAsyncApi({ version: "1.2.3", publicPath: "" }) as {
  channels: Record<string, { address: string; messages: Record<string, Message> }>;
  operations: Record<string, { summary: string; description: string; reply?: { messages: unknown[] } }>;
  components: { schemas: Record<string, Json> };
};

const messages = Object.entries(document.channels).flatMap(([channel, { messages: known }]) =>
  Object.entries(known).map(([key, message]) => ({ message, pointer: `#/channels/${channel}/messages/${key}` })),
);

const schemas = [
  ...Object.entries(document.components.schemas).map(([name, schema]) => ({
    schema,
    pointer: `#/components/schemas/${name}`,
  })),
  ...messages.map(({ message, pointer }) => ({ schema: message.payload, pointer: `${pointer}/payload` })),
];

describe("the AsyncAPI document", () => {
  it("is valid AsyncAPI 3, as AsyncAPI's parser reads it", async () => {
    const { document: parsed, diagnostics } = await new Parser().parse(JSON.stringify(document));
    // The parser also says that there is a version after 3.0.0.
    const problems = diagnostics.filter(({ code }) => code !== "asyncapi-latest-version");
    expect(problems.map(({ message, path }) => `${path.join("/")}: ${message}`)).toEqual([]);
    expect(
      parsed
        ?.channels()
        .all()
        .map((channel) => channel.address()),
    ).toEqual(["/player", "/dashboard", "/rtmp"]);
  });

  it("answers every call with its acks or a refusal, and has a handshake in every namespace", () => {
    for (const [namespace, { calls, events }] of Object.entries(SOCKET_CONTRACT)) {
      const channel = namespace.slice(1);
      for (const call of ["handshake", ...Object.keys(calls)]) {
        const operation = document.operations[`${channel}-${call.replaceAll(":", "-")}`];
        expect(operation, `${namespace} ${call}`).toMatchObject({ action: "receive" });
        expect(operation?.reply?.messages.length).toBeGreaterThanOrEqual(2);
      }
      for (const event of Object.keys(events))
        expect(document.operations[`${channel}-${event.replaceAll(":", "-")}`], event).toMatchObject({
          action: "send",
        });
    }
  });

  it("describes every field, message and operation, and has an example of each", () => {
    const bare = schemas.flatMap(({ schema, pointer }) => findBareFields(document as never, schema, pointer));
    for (const { message, pointer } of messages)
      if (!message.summary || message.examples.some(({ payload }) => payload === undefined)) bare.push(pointer);
    for (const [name, { summary, description }] of Object.entries(document.operations))
      if (!summary || !description) bare.push(name);
    expect(bare).toEqual([]);
  });

  it("has no example that its own schema refuses", () => {
    const check = new ExampleCheck(document as never, "7");
    const refusals = schemas.flatMap(({ schema, pointer }) => check.refusalsBelow(schema, pointer));
    for (const { message, pointer } of messages) {
      for (const { payload } of message.examples)
        refusals.push(...[check.refusal(`${pointer}/payload`, payload)].filter((refusal) => refusal !== null));
    }
    expect(refusals).toEqual([]);
  });

  it("has examples of calls that the gateway's own schemas accept", () => {
    for (const [namespace, { auth, calls }] of Object.entries(SOCKET_CONTRACT)) {
      const known = document.channels[namespace.slice(1)]?.messages ?? {};
      for (const [key, schema] of [
        ["handshake", auth] as const,
        ...Object.entries(calls).map(([name, { payload }]) => [name, payload] as const),
      ]) {
        for (const { payload } of known[key.replaceAll(":", "-")]?.examples ?? [])
          expect(schema.safeParse(payload).error, `${namespace} ${key}`).toBeUndefined();
      }
    }
  });

  it("is shown as a page without a script, whose texts are escaped", async () => {
    const page = String(await renderSockets(document as never));
    expect(page).not.toMatch(/<script|https?:\/\//);
    expect(page).toContain("course:&lt;id&gt;");
    expect(page).toContain("watched: [number, number][]");
    for (const { calls, events } of Object.values(SOCKET_CONTRACT))
      for (const name of [...Object.keys(calls), ...Object.keys(events)])
        expect(page).toContain(`<code>${name}</code>`);
  });
});
