import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { isDeepStrictEqual } from "node:util";
import { type AnyStatement, checkOrder, checkStatement } from "./xapi-rules.ts";

/**
 * A learning record store that checks what it takes by the rules of the Video Profile, and misbehaves on command. It takes all
 * statements of a POST or none; an id that it has with other content is a conflict.
 */
export interface RecordStoreStandIn {
  /** The endpoint, with the user and the password that it wants. */
  url: string;
  /** Without them. */
  endpoint: string;
  auth: string;
  /** Each statement once, in the order of arrival. */
  taken: AnyStatement[];
  /** Every POST, whatever became of it. */
  posts: AnyStatement[][];
  /** What was wrong with statements and requests, whatever was answered. */
  problems(): string[];
  /** Answers a POST in another way than a store should: with a status, or not at all (`"never"`). */
  answer: (statements: AnyStatement[]) => number | "never" | null;
  delayMs: number;
  /** Stops listening and cuts what is open; `open` listens on the same port again. */
  close(): Promise<void>;
  open(): Promise<void>;
}

const USER = "playhead";
const PASSWORD = "s3cret/of the:store";

export async function startRecordStore(): Promise<RecordStoreStandIn> {
  let port = 0;
  let server = createServer();
  const byId = new Map<string, AnyStatement>();
  const found: string[] = [];

  async function take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let body = "";
    for await (const chunk of request) body += chunk;
    const end = (status: number, text = "") => void response.writeHead(status).end(text);
    if (request.headers.authorization !== `Basic ${Buffer.from(`${USER}:${PASSWORD}`).toString("base64")}`) {
      end(401, `not ${request.headers.authorization}`);
      return;
    }
    if (request.method !== "POST" || request.url !== "/xapi/statements") found.push(`${request.method} ${request.url}`);
    if (request.headers["x-experience-api-version"] !== "1.0.3") found.push("no X-Experience-API-Version");
    if (request.headers["content-type"] !== "application/json") found.push("no JSON");
    const statements = JSON.parse(body) as AnyStatement[];
    store.posts.push(statements);
    if (store.delayMs > 0) await new Promise((resolve) => setTimeout(resolve, store.delayMs));
    const status = store.answer(statements);
    if (status === "never") return;
    if (status !== null) {
      end(status, `refused, for ${request.headers.authorization}`);
      return;
    }
    const wrong = statements.flatMap(checkStatement);
    found.push(...wrong);
    const isConflict = statements.some((one) => byId.has(one.id) && !isDeepStrictEqual(byId.get(one.id), one));
    if (wrong.length > 0) end(400, wrong.join("; "));
    else if (isConflict) end(409, "conflict");
    else {
      for (const one of statements.filter(({ id }) => !byId.has(id))) {
        byId.set(one.id, one);
        store.taken.push(one);
      }
      end(200, JSON.stringify(statements.map(({ id }) => id)));
    }
  }

  const store: RecordStoreStandIn = {
    url: "",
    endpoint: "",
    auth: `${USER}:${PASSWORD}`,
    taken: [],
    posts: [],
    problems: () => [...found, ...checkOrder(store.taken)],
    answer: () => null,
    delayMs: 0,
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
    async open() {
      server = createServer((request, response) => {
        take(request, response).catch(() => response.destroy()); // the sender went away
      });
      server.listen(port, "127.0.0.1");
      await once(server, "listening");
      port = (server.address() as AddressInfo).port;
    },
  };
  await store.open();
  store.endpoint = `http://127.0.0.1:${port}/xapi/`;
  store.url = `http://${USER}:${encodeURIComponent(PASSWORD)}@127.0.0.1:${port}/xapi/`;
  return store;
}
