import { html, raw } from "hono/html";
import { toTypeText } from "./type-text.ts";

/*
 * `/docs/sockets`: /asyncapi.json as a page to read, made on the server and without a script. AsyncAPI's own component is
 * not used: it takes 2.5 MB beside React, has code that makes functions of text, which the content security policy forbids, and is never dark.
 */

type Json = Record<string, unknown>;

interface Message {
  name: string;
  summary: string;
  payload: Json;
  examples: { payload: unknown }[];
}

interface Reference {
  $ref: string;
}

interface Operation {
  action: "receive" | "send";
  title: string;
  summary: string;
  channel: Reference;
  messages: Reference[];
  reply?: { messages: Reference[] };
}

interface AsyncApi {
  info: { title: string; version: string; description: string };
  channels: Record<string, { address: string; description: string; messages: Record<string, Message> }>;
  operations: Record<string, Operation>;
  components: { schemas: Record<string, Json> };
}

const STYLE = `
:root { color-scheme: light dark; --line: light-dark(#d8dbe2, #3a3f4b); --soft: light-dark(#f5f6f8, #22252c);
  --ground: light-dark(#fff, #16181d); --text: light-dark(#1d2433, #e6e9f0); --muted: light-dark(#4a5468, #b4bccb);
  --link: light-dark(#2f4fb0, #9db6ff) }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
  background: var(--ground); color: var(--text) }
a { color: var(--link) } h1 { font-size: 1.6rem } h2 { margin-top: 2.5rem; border-bottom: 1px solid var(--line) }
nav { display: flex; flex-wrap: wrap; gap: 1rem }
details { border: 1px solid var(--line); border-radius: 6px; margin: .5rem 0; padding: .5rem .75rem }
h2 code { font-size: inherit } summary { cursor: pointer } code, pre { font: 14px/1.45 ui-monospace, monospace }
pre { background: var(--soft); padding: .6rem .8rem; border-radius: 6px; white-space: pre-wrap; overflow-wrap: anywhere }
.what { color: var(--muted); margin-left: .5rem }`;

/** Renders the page: each namespace with its calls and events, and then every named schema. */
export function renderSockets(given: Json) {
  const document = given as unknown as AsyncApi;
  const { title, version, description } = document.info;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>Socket reference · Playhead</title><link rel="icon" href="../favicon.svg" type="image/svg+xml"><style>${raw(STYLE)}</style></head>
<body><header><h1>${title} ${version}</h1>
<nav aria-label="References"><a href="../docs">HTTP</a> <a href="../asyncapi.json">asyncapi.json</a> <a href="../openapi.json">openapi.json</a></nav></header>
<main><p>${withCode(description)}</p>
${Object.entries(document.channels).map(([key, channel]) => {
  const operations = Object.values(document.operations).filter((each) => each.channel.$ref === `#/channels/${key}`);
  const show = (action: Operation["action"]) =>
    operations.filter((each) => each.action === action).map((each) => renderOperation(each, channel.messages));
  return html`<h2><code>${channel.address}</code></h2><p>${withCode(channel.description)}</p>
<h3>Calls</h3>${show("receive")}<h3>The server sends</h3>${show("send")}`;
})}
<h2>Schemas</h2>
${Object.entries(document.components.schemas).map(
  ([name, schema]) =>
    html`<details id="${name}" open><summary><code>${name}</code><span class="what">${withCode(String(schema.description ?? ""))}</span></summary>${renderSchema(schema)}</details>`,
)}</main></body></html>`;
}

function renderOperation({ title, summary, messages, reply }: Operation, known: Record<string, Message>) {
  const find = ({ $ref }: Reference) => known[$ref.split("/").at(-1) as string] as Message;
  return html`<details><summary><code>${title}</code><span class="what">${withCode(summary)}</span></summary>
${messages.map(find).map(renderMessage)}
${reply?.messages.map(find).map((message) => html`<p><b>${message.name}</b>: ${withCode(message.summary)}</p>${renderMessage(message)}`)}</details>
`;
}

function renderMessage({ payload, examples }: Message) {
  return html`${renderSchema(payload)}<pre>${examples.map((example) => `${JSON.stringify(example.payload)}\n`)}</pre>`;
}

function renderSchema(schema: Json) {
  const named = typeof schema.$ref === "string" ? schema.$ref.split("/").at(-1) : undefined;
  if (named !== undefined) return html`<p><a href="#${named}"><code>${named}</code></a></p>`;
  const fields = Object.entries((schema.properties ?? {}) as Record<string, Json>).filter(
    ([, { description }]) => description,
  );
  return html`<pre>${toTypeText(schema)}</pre>
${fields.length > 0 ? html`<ul>${fields.map(([name, field]) => html`<li><code>${name}</code>: ${withCode(String(field.description))}</li>`)}</ul>` : ""}`;
}

/** Text in which backticks mark code. */
function withCode(text: string) {
  return text.split("`").map((part, i) => (i % 2 ? html`<code>${part}</code>` : part));
}
