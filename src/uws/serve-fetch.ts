import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { endsWithin } from "../within-time.ts";
import { HttpExchange } from "./http-exchange.ts";
import type { HttpRequest, HttpResponse, TemplatedApp } from "./uws.ts";

/*
 * Serves a fetch function, such as Hono's, on uWebSockets.js. The request is copied before the route's handler returns,
 * because uWebSockets.js keeps it on the stack. Its body is streamed and bounded, and read
 * from the socket no faster than the fetch function reads it. What is left of a body when its request is answered is
 * dropped, and the connection is closed if the body is long. Responses are throttled (http-exchange.ts).
 */

/** Facts about the request that the fetch function gets besides it. */
export interface HttpEnv {
  /** The address at the other end of the connection: the client's, or that of a proxy. */
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

/** How much of a body waits here for the fetch function. The next chunk of the socket, at most 512 KB, may come on top. */
const UNREAD_BYTES = 64 * 1024;
/**
 * Headers that say where a request ends and for whom it is. With two of them, a proxy and this server may read two different
 * requests: RFC 9112, 6.3.
 */
const ONCE = new Set(["content-length", "transfer-encoding", "host"]);
/** Methods that the constructor of Request refuses. */
const UNSUPPORTED_METHODS = new Set(["CONNECT", "TRACE", "TRACK"]);
/** A name or an address, perhaps with a port: a Host header with more characters could change the path of the URL. */
const HOST = /^(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?$/;
/** Bodies of these methods are ignored, because the fetch standard allows them none. */
const BODYLESS_METHODS = new Set(["GET", "HEAD"]);

/** Passes every request for which `app` has no more specific route, such as Socket.IO's, to `fetch`. */
export function serveFetch(app: TemplatedApp, fetch: Fetch, options: ServeOptions): HttpServing {
  const serving: Serving = { ...options, fetch, unanswered: new Set(), ambiguous: null };
  app.any("/*", (res, req) => handle(res, req, serving));
  return {
    async settle(timeoutMs) {
      await endsWithin(Promise.all(serving.unanswered), timeoutMs);
    },
  };
}

export interface HttpServing {
  /** Resolves when every request that has come is answered, or after `timeoutMs`. */
  settle(timeoutMs: number): Promise<void>;
}

interface Serving extends ServeOptions {
  fetch: Fetch;
  unanswered: Set<Promise<void>>;
  /** The address that sent an ambiguous request in this turn; null if none did. */
  ambiguous: string | null;
}

function handle(res: HttpResponse, req: HttpRequest, serving: Serving): void {
  const remoteAddress = toAddress(res.getRemoteAddressAsText());
  // uWebSockets.js goes on with the bytes behind a refused request in the same turn: they may be part of its body.
  if (serving.ambiguous === remoteAddress) {
    res.close();
    return;
  }
  const exchange = new HttpExchange(res, () =>
    body.fail(new AppError("bad_request", "The client left.", { status: 499 })),
  );
  const body = new BodyStream(exchange);
  try {
    const method = req.getCaseSensitiveMethod();
    if (Number(req.getHeader("content-length") || 0) > serving.maxBodyBytes) throw tooLarge(serving);
    const env = { remoteAddress };
    if (isAmbiguous(req)) {
      serving.ambiguous = remoteAddress;
      setImmediate(() => {
        serving.ambiguous = null;
      });
      throw new AppError("bad_request", "The request's length, encoding or host is given twice, or is none.");
    }
    const request = toRequest(req, method, BODYLESS_METHODS.has(method) ? null : body.stream);
    if (request.body !== null) readBody(exchange, body, serving);
    const answered = answer(exchange, { request, env, body }, serving).finally(() =>
      serving.unanswered.delete(answered),
    );
    serving.unanswered.add(answered);
  } catch (error) {
    refuse(exchange, error, serving);
  }
}

/** Answers the request, with a problem if the fetch function fails. Never rejects. */
async function answer(
  exchange: HttpExchange,
  call: { request: Request; env: HttpEnv; body: BodyStream },
  serving: Serving,
): Promise<void> {
  const { request, env, body } = call;
  try {
    const response = await serving.fetch(request, env);
    if (request.body !== null && !body.isComplete) {
      body.drop();
      // A short rest is read and dropped, so that the connection can serve the next request.
      const length = request.headers.get("content-length");
      if (length === null || Number(length) > UNREAD_BYTES) exchange.closeAfterResponse();
    }
    const outcome = await exchange.send(response, { head: request.method === "HEAD" });
    if (outcome === "sent") return;
    count(serving, outcome);
    if (outcome === "broken")
      serving.logger.error({ path: new URL(request.url).pathname }, "the body of a response failed half-way");
  } catch (error) {
    refuse(exchange, error, serving);
  }
}

function isAmbiguous(req: HttpRequest): boolean {
  const seen = new Set<string>();
  let isAmbiguous = false;
  req.forEach((name, value) => {
    if (!ONCE.has(name)) return;
    isAmbiguous ||=
      seen.has(name) || value === "" || (name === "transfer-encoding" && value.toLowerCase() !== "chunked");
    seen.add(name);
  });
  return isAmbiguous || (seen.has("content-length") && seen.has("transfer-encoding"));
}

/** Copies the chunks of the body, because uWebSockets.js takes each back when its callback returns. */
function readBody(exchange: HttpExchange, body: BodyStream, serving: Serving): void {
  let received = 0;
  exchange.onData((chunk, isLast) => {
    received += chunk.byteLength;
    if (received > serving.maxBodyBytes) {
      const error = tooLarge(serving);
      refuse(exchange, error, serving);
      body.fail(error);
      return;
    }
    body.push(chunk, isLast);
  });
}

/** Answers with a problem document, and closes the connection without reading the rest of the request. */
function refuse(exchange: HttpExchange, error: unknown, serving: Serving): void {
  if (exchange.closed) return;
  if (!(error instanceof AppError)) serving.logger.error({ err: error }, "a request failed outside its handler");
  const problem = serving.toProblem(error);
  count(serving, String(problem.status));
  exchange.endWith(problem.status, { "content-type": "application/problem+json" }, JSON.stringify(problem), true);
}

function count({ metrics }: Serving, status: string): void {
  metrics?.httpRequests.inc({ method: "", route: "(connection)", status });
}

function tooLarge({ maxBodyBytes }: Serving): AppError {
  return new AppError("bad_request", `The body is longer than ${maxBodyBytes} bytes.`, { status: 413 });
}

/** @throws AppError `bad_request` for a header, a host or a target that no URL can have */
function toRequest(req: HttpRequest, method: string, body: ReadableStream<Uint8Array> | null): Request {
  if (UNSUPPORTED_METHODS.has(method)) {
    throw new AppError("bad_request", `The method ${method} is not supported.`, { status: 501 });
  }
  const query = req.getQuery();
  const target = query ? `${req.getUrl()}?${query}` : req.getUrl();
  try {
    const headers = new Headers();
    req.forEach((name, value) => {
      headers.append(name, value);
    });
    const host = headers.get("host") || "localhost";
    if (!HOST.test(host) || !target.startsWith("/")) throw new TypeError("neither a host nor a path");
    const url = new URL(`http://${host}${target}`);
    // A proxy in front decides by the path that came. Where the URL standard makes another of it, two would be meant.
    if (url.pathname !== req.getUrl()) throw new TypeError("a path that the URL standard changes");
    return new Request(url, { method, headers, body, duplex: "half" } as RequestInit);
  } catch (cause) {
    throw new AppError("bad_request", "The request's method, target or headers are malformed.", { cause });
  }
}

/** Writes an address as usual: uWebSockets.js writes an IPv4 address as a full IPv6 address. */
function toAddress(text: ArrayBuffer): string {
  const address = Buffer.from(text).toString();
  const mapped = /^0000:0000:0000:0000:0000:ffff:([0-9a-f]{2})([0-9a-f]{2}):([0-9a-f]{2})([0-9a-f]{2})$/.exec(address);
  if (mapped === null) return address;
  return mapped
    .slice(1)
    .map((byte) => Number.parseInt(byte, 16))
    .join(".");
}

/** The body of a request as a stream. It can be fed, and made to fail, in any state. */
class BodyStream {
  readonly #source: { pause(): void; resume(): void };
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #isPaused = false;
  /** Whether the last chunk has come. */
  isComplete = false;
  readonly stream = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => this.#resume(),
      // The rest of the body comes to nobody, and is not kept.
      cancel: () => {
        this.#controller = null;
        this.#resume();
      },
    },
    new ByteLengthQueuingStrategy({ highWaterMark: UNREAD_BYTES }),
  );

  constructor(source: { pause(): void; resume(): void }) {
    this.#source = source;
  }

  push(chunk: ArrayBuffer, isLast: boolean): void {
    if (isLast) this.isComplete = true;
    if (this.#controller === null) return;
    if (chunk.byteLength > 0) this.#controller.enqueue(new Uint8Array(chunk.slice(0)));
    if (isLast) {
      this.#controller.close();
      this.#controller = null;
    } else if ((this.#controller.desiredSize ?? 0) <= 0) {
      this.#isPaused = true;
      this.#source.pause();
    }
  }

  fail(error: Error): void {
    this.#controller?.error(error);
    this.#controller = null;
  }

  /** Lets go of everything that nobody has read. */
  drop(): void {
    this.fail(new AppError("bad_request", "The request was answered before its body was read."));
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#source.resume();
  }
}
