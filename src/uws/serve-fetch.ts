import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { endsWithin } from "../within-time.ts";
import { BodyStream } from "./body-stream.ts";
import { HttpExchange } from "./http-exchange.ts";
import { mayHaveBody, type RequestHead, readHead, toRequest } from "./request-head.ts";
import { TurnQueue } from "./turn-queue.ts";
import { UnreadBudget } from "./unread-budget.ts";
import type { HttpRequest, HttpResponse, TemplatedApp } from "./uws.ts";

/*
 * Serves a fetch function, such as Hono's, on uWebSockets.js, which hands over all requests of a read of the socket in one
 * turn. So none is answered in the turn in which it came, and few are begun in a turn (turn-queue.ts). A connection has one
 * request at a time: uWebSockets.js closes it where the next one comes before the answer.
 *
 * The body is streamed and bounded, and read from the socket no faster than the fetch function reads it. What is left of a
 * body when its request is answered is dropped, and the connection is closed if the body is long. Responses are throttled
 * (http-exchange.ts).
 */

/** Facts about the request that the fetch function gets besides it. */
export interface HttpEnv {
  /** The address at the other end of the connection, in any spelling: the client's, or that of a proxy. */
  remoteAddress: string;
}

export type Fetch = (request: Request, env: HttpEnv) => Response | Promise<Response>;

export interface ServeOptions {
  /** The longest request body. A longer one is answered with 413, and the connection is closed. */
  maxBodyBytes: number;
  /** Makes the document with which a refused request is answered. */
  toProblem: (error: unknown) => { status: number };
  logger: Logger;
  /** Counts requests that never reach the fetch function, and responses that the client did not wait for. */
  metrics?: Pick<Metrics, "httpRequests">;
}

export interface HttpServing {
  /** Resolves when every request that has come is answered, or after `timeoutMs`. */
  settle(timeoutMs: number): Promise<void>;
}

/**
 * A body of an unknown length counts as long. What is left of a short body when its request is answered is read, so that the
 * connection can serve the next request.
 */
const MAX_SHORT_BYTES = 64 * 1024;
/** Each chunk of a chunked body costs a call, and tens of thousands of tiny ones may come in one read of the socket. */
const TINY_BYTES = 64;
const MAX_TINY_CHUNKS = 1000;
/** The memory of all long bodies together that wait to be read. */
const UNREAD_BYTES = 8 * 1024 * 1024;

/** Passes every request for which `app` has no more specific route, such as Socket.IO's, to `fetch`. */
export function serveFetch(app: TemplatedApp, fetch: Fetch, options: ServeOptions): HttpServing {
  const serving: Serving = {
    ...options,
    fetch,
    turns: new TurnQueue(),
    unread: new UnreadBudget(UNREAD_BYTES),
    unanswered: new Set(),
  };
  app.any("/*", (res, req) => handle(res, req, serving));
  return {
    async settle(timeoutMs) {
      await endsWithin(Promise.all(serving.unanswered), timeoutMs);
    },
  };
}

interface Serving extends ServeOptions {
  fetch: Fetch;
  turns: TurnQueue;
  unread: UnreadBudget;
  unanswered: Set<Promise<void>>;
}

/** A request under way. */
interface Call {
  exchange: HttpExchange;
  head: RequestHead;
  body: BodyStream;
  env: HttpEnv;
}

function handle(res: HttpResponse, req: HttpRequest, serving: Serving): void {
  let onGone: () => void = () => undefined;
  const exchange = new HttpExchange(res, () => onGone());
  try {
    const head = readHead(req);
    if ((head.length ?? 0) > serving.maxBodyBytes) throw tooLarge(serving);
    const env = { remoteAddress: Buffer.from(res.getRemoteAddressAsText()).toString() };
    const body = new BodyStream(exchange, isShort(head) ? null : serving.unread);
    onGone = () => body.fail(new AppError("bad_request", "The client left.", { status: 499 }));
    if (mayHaveBody(head)) readBody(exchange, body, serving);
    const answered = answer({ exchange, head, body, env }, serving).finally(() => {
      body.drop();
      serving.unanswered.delete(answered);
    });
    serving.unanswered.add(answered);
  } catch (error) {
    refuse(exchange, error, serving, { atOnce: true });
  }
}

/** Answers the request in a later turn, with a problem if the fetch function fails. Never rejects. */
async function answer({ exchange, head, body, env }: Call, serving: Serving): Promise<void> {
  await serving.turns.next();
  if (exchange.closed) {
    count(serving, "gone");
    return;
  }
  try {
    const request = toRequest(head, mayHaveBody(head) ? body.stream : null);
    const response = await serving.fetch(request, env);
    if (request.body !== null && !body.isComplete) {
      body.drop();
      if (!isShort(head)) exchange.closeAfterResponse();
    }
    const outcome = await exchange.send(response, { head: request.method === "HEAD" });
    if (outcome === "sent") return;
    count(serving, outcome);
    if (outcome === "broken") serving.logger.error({ path: head.path }, "the body of a response failed half-way");
  } catch (error) {
    refuse(exchange, error, serving);
  }
}

function isShort({ length }: RequestHead): boolean {
  return length !== null && length <= MAX_SHORT_BYTES;
}

/** Copies the chunks of the body, because uWebSockets.js takes each back when its callback returns. */
function readBody(exchange: HttpExchange, body: BodyStream, serving: Serving): void {
  let received = 0;
  let chunks = 0;
  const end = (error: AppError) => {
    refuse(exchange, error, serving);
    body.fail(error);
  };
  exchange.onData((chunk, isLast) => {
    if (exchange.closed) return;
    received += chunk.byteLength;
    chunks += 1;
    if (received > serving.maxBodyBytes) end(tooLarge(serving));
    else if (chunks > MAX_TINY_CHUNKS && received < chunks * TINY_BYTES) end(tooManyChunks());
    else body.push(chunk, isLast);
  });
}

/**
 * Answers with a problem document, and closes the connection without reading the rest of the request. `atOnce` is for
 * route's handlers: what comes behind the request is not looked at, for it may be a part of it.
 */
function refuse(exchange: HttpExchange, error: unknown, serving: Serving, { atOnce = false } = {}): void {
  if (exchange.closed) return;
  if (!(error instanceof AppError)) serving.logger.error({ err: error }, "a request failed outside its handler");
  const problem = serving.toProblem(error);
  count(serving, String(problem.status));
  const headers = { "content-type": "application/problem+json" };
  exchange.endAndClose(problem.status, headers, JSON.stringify(problem), { atOnce });
}

function count({ metrics }: Serving, status: string): void {
  metrics?.httpRequests.inc({ method: "", route: "(connection)", status });
}

function tooManyChunks(): AppError {
  const message = `The body comes in more than ${MAX_TINY_CHUNKS} chunks of less than ${TINY_BYTES} bytes: send larger ones.`;
  return new AppError("bad_request", message);
}

function tooLarge({ maxBodyBytes }: Serving): AppError {
  return new AppError("bad_request", `The body is longer than ${maxBodyBytes} bytes.`, { status: 413 });
}
