import type { Router } from "../router.ts";
import { addSchemaExamples, exampleOf, type Resolve, resolverOf } from "./with-examples.ts";

type Json = Record<string, unknown>;

/** The subjects of the routes, in the order in which the reference shows them. */
const TAGS = {
  Accounts: "Playhead's own accounts; a backend may sign tokens itself instead.",
  Demo: "Only while the demo runs.",
  Progress: "What a user has watched. Players use sockets (`/asyncapi.json`), or these routes.",
  Learners: "For instructors: the learners of a course, and changes of their progress.",
  Courses: "The catalogue: courses with their lessons and files.",
  People: "The names that people know users by.",
  Webhooks: "For admins: addresses that are told of events, signed.",
  Streams: "Live streams and their keys.",
  "Hooks of media servers": "Media servers ask here whether an encoder may publish.",
  "Legacy progress": "The older interface, for clients that report how far their user is.",
  Operations: "For operators and balancers.",
};

/** Describes all routes of the router in OpenAPI 3.1. */
export function toOpenApi(router: Router, { version, publicPath }: { version: string; publicPath: string }): Json {
  const document = router.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "Playhead",
      version,
      license: { name: "Apache-2.0", url: "https://www.apache.org/licenses/LICENSE-2.0" },
      description:
        "Progress of video players, exact and live. This is the HTTP side; `/asyncapi.json` describes the sockets. Every call that fails is answered with a `Problem`.",
    },
    servers: [{ url: publicPath || "/" }],
  }) as unknown as Json;
  const operations = operationsOf(document);
  const used = new Set(operations.flatMap(({ tags }) => tags as string[]));
  document.tags = Object.entries(TAGS)
    .filter(([name]) => used.has(name))
    .map(([name, description]) => ({ name, description }));
  addExamples(document, operations);
  return document;
}

function operationsOf(document: Json): Json[] {
  return Object.values(document.paths as Record<string, Record<string, Json>>).flatMap((path) => Object.values(path));
}

function addExamples(document: Json, operations: Json[]): void {
  const resolve = resolverOf(document);
  const { schemas } = document.components as { schemas: Record<string, Json> };
  for (const schema of Object.values(schemas)) addSchemaExamples(schema, resolve);
  for (const { parameters = [], requestBody, responses } of operations as unknown as Operation[]) {
    for (const parameter of parameters) {
      addSchemaExamples(parameter.schema, resolve);
      parameter.example = exampleOf(parameter.schema, resolve);
    }
    for (const body of [requestBody, ...Object.values(responses)]) addBodyExamples(body, resolve);
  }
}

interface Body {
  content?: Record<string, { schema: Json; example?: unknown }>;
}

interface Operation {
  parameters?: { schema: Json; example?: unknown }[];
  requestBody?: Body;
  responses: Record<string, Body>;
}

function addBodyExamples(body: Body | undefined, resolve: Resolve): void {
  for (const media of Object.values(body?.content ?? {})) {
    addSchemaExamples(media.schema, resolve);
    media.example ??= exampleOf(media.schema, resolve);
  }
}
