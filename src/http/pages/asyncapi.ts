import { z } from "zod";
import { Refused } from "../../protocol/acks.ts";
import { doc } from "../../protocol/doc.ts";
import { ConnectError, Connected, type NamespaceContract, SOCKET_CONTRACT } from "../../protocol/socket-contract.ts";
import { addSchemaExamples, exampleOf, type Resolve, resolverOf } from "./with-examples.ts";

/*
 * /asyncapi.json: the events of the sockets in AsyncAPI 3, made of the same schemas that the gateway parses them by. A
 * namespace of Socket.IO is a channel. An ack is the reply to an operation; so is the answer to the handshake.
 */

type Json = Record<string, unknown>;

/** AsyncAPI's schemas are those of JSON Schema's draft 7. */
const SCHEMA_OPTIONS = { target: "draft-7", io: "input", unrepresentable: "any" } as const;
const DEFINITIONS = "#/definitions/";
const SCHEMAS = "#/components/schemas/";

const DESCRIPTION = `Socket.IO 4 (protocol 5) over WebSocket, at the path \`/socket.io/\`. A namespace is a channel here, and its events are messages. Every call has one payload and an ack: \`{ ok: true, … }\`, or \`{ ok: false, error }\`. docs/protocol.md explains the rules, and shows the frames for clients without Socket.IO's library.`;

/** Describes the sockets in AsyncAPI 3. */
export function toAsyncApi({ version, publicPath }: { version: string; publicPath: string }): Json {
  const parts = new Parts();
  for (const [namespace, contract] of Object.entries(SOCKET_CONTRACT)) parts.addNamespace(namespace, contract);
  const document = {
    asyncapi: "3.0.0",
    id: "urn:playhead:sockets",
    info: {
      title: "Playhead's sockets",
      version,
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
      description: DESCRIPTION,
    },
    defaultContentType: "application/json",
    servers: {
      playhead: {
        host: "{host}",
        pathname: `${publicPath}/socket.io/`,
        protocol: "ws",
        description: "This server; `wss` behind TLS.",
        variables: { host: { default: "127.0.0.1:8080", description: "The host and port of the server." } },
      },
    },
    channels: parts.channels,
    operations: parts.operations,
    components: { schemas: parts.schemas },
  };
  addExamples(document);
  return document;
}

/** Collects the parts of the document, one namespace after the other. */
class Parts {
  readonly channels: Record<string, Json> = {};
  readonly operations: Record<string, Json> = {};
  readonly schemas: Record<string, Json> = {};

  addNamespace(namespace: string, { description, auth, calls, events }: NamespaceContract): void {
    const channel = namespace.slice(1);
    const messages: Record<string, Json> = {};
    const ref = (message: string) => ({ $ref: `#/channels/${channel}/messages/${message}` });
    const self = { $ref: `#/channels/${channel}` };
    const add = (key: string, name: string, summary: string, schema: z.ZodType): string => {
      const payload = this.#toSchema(schema);
      messages[key] = {
        name,
        title: name,
        summary,
        payload,
        ...(schema.description && { description: schema.description }),
      };
      return key;
    };
    /** Declares an operation that the server answers. */
    const answer = (key: string, summary: string, message: string, replies: string[]) => {
      this.operations[`${channel}-${key}`] = {
        action: "receive",
        title: message,
        summary,
        description: `${summary}.`,
        channel: self,
        messages: [ref(key)],
        reply: { channel: self, messages: replies.map(ref) },
      };
    };

    const refused = add("refused", "ack", "The call was refused", Refused);
    const connected = add(
      "connected",
      "connect",
      "The handshake was accepted",
      Connected.meta(doc("The namespace is joined.")),
    );
    const failed = add(
      "connect-error",
      "connect_error",
      "The handshake was refused",
      ConnectError.meta(doc("The reason.")),
    );
    add("handshake", "handshake", "The `auth` of the handshake", auth.meta(doc("Who connects.")));
    answer("handshake", "Joins the namespace", "handshake", [connected, failed]);

    for (const [name, { summary, payload, acks }] of Object.entries(calls)) {
      const key = add(toKey(name), name, summary, payload);
      const replies = acks.map((ack, i) => {
        const reply = acks.length === 1 ? `${key}-ack` : `${key}-ack-${i + 1}`;
        return add(reply, "ack", ack.description ?? "The ack", ack);
      });
      answer(key, summary, name, [...replies, refused]);
    }
    for (const [name, { summary, payload }] of Object.entries(events)) {
      const key = add(toKey(name) in messages ? `sent-${toKey(name)}` : toKey(name), name, summary, payload);
      this.operations[`${channel}-${key}`] = {
        action: "send",
        title: name,
        summary,
        description: `${summary}.`,
        channel: self,
        messages: [ref(key)],
      };
    }
    this.channels[channel] = {
      address: namespace,
      title: namespace,
      description,
      servers: [{ $ref: "#/servers/playhead" }],
      messages,
    };
  }

  /** The schema in JSON; schemas with a name of their own go among the shared ones. */
  #toSchema(schema: z.ZodType): Json {
    const text = JSON.stringify(z.toJSONSchema(schema, SCHEMA_OPTIONS)).replaceAll(DEFINITIONS, SCHEMAS);
    const { $schema: _, definitions = {}, ...rest } = JSON.parse(text) as Json & { definitions?: Record<string, Json> };
    Object.assign(this.schemas, definitions);
    return rest;
  }
}

/** The name of an event as a key of the document, where colons may not stand. */
function toKey(event: string): string {
  return event.replaceAll(":", "-");
}

function addExamples(document: Json): void {
  const resolve: Resolve = resolverOf(document);
  const { schemas } = document.components as { schemas: Record<string, Json> };
  for (const schema of Object.values(schemas)) addSchemaExamples(schema, resolve);
  for (const { messages } of Object.values(
    document.channels as Record<string, { messages: Record<string, Message> }>,
  )) {
    for (const message of Object.values(messages)) {
      addSchemaExamples(message.payload, resolve);
      const choices = (message.payload.anyOf as Json[] | undefined) ?? [message.payload];
      message.examples = choices.map((choice) => ({ payload: exampleOf(choice, resolve) }));
    }
  }
}

interface Message {
  payload: Json;
  examples?: { payload: unknown }[];
}
