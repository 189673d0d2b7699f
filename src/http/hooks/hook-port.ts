import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { Config } from "../../config.ts";
import { AppError } from "../../errors.ts";
import type { Logger } from "../../logger.ts";
import type { Metrics } from "../../metrics/metrics.ts";
import type { Fetch } from "../../uws/serve-fetch.ts";
import { endsWithin } from "../../within-time.ts";
import { toProblemResponse } from "../problem.ts";
import { withoutPublicPath } from "../public-path.ts";

/*
 * A second port, for hooks alone, by Node's own HTTP server: nginx-rtmp speaks HTTP/1.0, which uWebSockets.js answers with
 * 505. Requests go to the same routes as those of the first port, so secrets and limits are the same. Bodies and answers of
 * hooks are short, so both are held whole and nothing is streamed.
 */

/** The port where HOOK_SECRETS is set and HOOKS_PORT is not. */
export const DEFAULT_HOOKS_PORT = 8088;
const HOOKS = "/v1/hooks/";
const MAX_CONNECTIONS = 1000;
const MAX_BODY_BYTES = 64 * 1024;
/** By default a request's head has to arrive in half of this time, and the whole request in this time. */
const REQUEST_TIMEOUT_MS = 10_000;

export interface HookPortParts {
  config: Pick<Config, "HOST" | "PORT" | "PUBLIC_PATH" | "HOOKS_PORT" | "HOOK_SECRETS">;
  /** The whole API; only its hooks can be reached. */
  fetch: Fetch;
  logger: Logger;
  metrics: Pick<Metrics, "httpRequests">;
}

/** An open port. */
export interface HookPort {
  url: string;
  /** Takes no more connections. Resolves when all requests are answered; after `timeoutMs` their connections are ended. */
  close(timeoutMs: number): Promise<void>;
}

/**
 * Opens the port; null where it is switched off, or nobody asked for it and it is taken.
 * @throws AppError `unavailable` if HOOKS_PORT is taken, or the address is not this machine's
 */
export async function openHookPort(
  parts: HookPortParts,
  { requestTimeoutMs = REQUEST_TIMEOUT_MS }: { requestTimeoutMs?: number } = {},
): Promise<HookPort | null> {
  const { config, logger } = parts;
  const port = toPort(config);
  if (port === null) return null;
  const server = createServer(
    {
      headersTimeout: requestTimeoutMs / 2,
      requestTimeout: requestTimeoutMs,
      connectionsCheckingInterval: requestTimeoutMs / 10,
      keepAliveTimeout: requestTimeoutMs / 2,
    },
    (request, response) => void handle(request, response, server, parts), // never rejects
  );
  server.maxConnections = MAX_CONNECTIONS;
  try {
    await once(server.listen({ host: config.HOST, port, exclusive: true }), "listening");
  } catch (cause) {
    const error = new AppError(
      "unavailable",
      `Cannot listen for hooks on ${config.HOST}:${port}: another process has the port, or HOST is no address of this machine. Set HOOKS_PORT to a free port or to off, or set HOST.`,
      { cause },
    );
    // An installation that takes its hooks on the first port goes on as before.
    if (config.HOOKS_PORT !== undefined) throw error;
    logger.warn({ err: error }, "the port for hooks over HTTP/1.0 is not open; nginx-rtmp cannot call it directly");
    return null;
  }
  server.on("error", (error) => logger.error({ err: error }, "the port for hooks failed to take a connection"));
  const host = config.HOST.includes(":") ? `[${config.HOST}]` : config.HOST;
  const url = `http://${host}:${(server.address() as AddressInfo).port}`;
  logger.info({ url: `${url}${HOOKS}` }, "media servers may call their hooks here, by HTTP/1.0 too");
  let closing: Promise<void> | null = null;
  return {
    url,
    close(timeoutMs) {
      closing ??= close(server, timeoutMs);
      return closing;
    },
  };
}

/** Null where the port is switched off. A server on a free port takes another free port for its hooks. */
function toPort({ PORT, HOOKS_PORT, HOOK_SECRETS }: HookPortParts["config"]): number | null {
  if (HOOKS_PORT !== undefined) return HOOKS_PORT === "off" ? null : HOOKS_PORT;
  if (HOOK_SECRETS.length === 0) return null;
  return PORT === 0 ? 0 : DEFAULT_HOOKS_PORT;
}

async function close(server: Server, timeoutMs: number): Promise<void> {
  const closed = once(server, "close");
  server.close();
  await endsWithin(closed, timeoutMs);
  server.closeAllConnections();
}

/** Answers one request. Never rejects. */
async function handle(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  server: Server,
  parts: HookPortParts,
): Promise<void> {
  try {
    await send(outgoing, await answer(incoming, outgoing, parts), server);
  } catch (error) {
    if (incoming.destroyed && !incoming.complete) return; // the client left
    parts.logger.error({ err: error }, "a hook could not be answered");
    outgoing.destroy();
  }
}

async function answer(
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  { config, fetch, metrics }: HookPortParts,
): Promise<Response> {
  let request: Request;
  try {
    request = await toRequest(incoming, config.PUBLIC_PATH);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    metrics.httpRequests.inc({ method: "", route: "(connection)", status: String(error.status) });
    // The rest of the request is not read.
    outgoing.setHeader("connection", "close");
    return toProblemResponse(error);
  }
  // A socket for IPv6 writes an IPv4 address as ::ffff:192.0.2.1.
  const remoteAddress = incoming.socket.remoteAddress?.replace(/^::ffff:(?=\d+\.)/, "") ?? "unknown";
  return fetch(request, { remoteAddress });
}

/** @throws AppError `not_found` for everything but hooks; `bad_request` for what no URL can have, and for too long a body */
async function toRequest(incoming: IncomingMessage, publicPath: string): Promise<Request> {
  const { method = "", url: target = "" } = incoming;
  const hosts = incoming.headersDistinct.host ?? ["localhost"]; // HTTP/1.0 needs no Host
  let url: URL;
  const headers = new Headers();
  try {
    url = new URL(`http://${hosts[0]}${target}`);
    for (const [name, values] of Object.entries(incoming.headersDistinct))
      for (const value of values ?? []) headers.append(name, value);
  } catch (cause) {
    throw new AppError("bad_request", "The request's host, target or headers are malformed.", { cause });
  }
  // A path that is written in another way than it is read could pass the rules of a proxy.
  if (hosts.length > 1 || url.pathname !== target.split("?")[0]) {
    throw new AppError("bad_request", "The request's host or target is malformed.");
  }
  if (!withoutPublicPath(url.pathname, publicPath).startsWith(HOOKS)) {
    throw new AppError("not_found", `This port has only ${HOOKS}…; everything else is on PORT.`);
  }
  const body = await readBody(incoming);
  const hasBody = method !== "GET" && method !== "HEAD";
  return new Request(url, { method, headers, body: hasBody ? body : null });
}

async function readBody(incoming: IncomingMessage): Promise<Blob> {
  const tooLong = () =>
    new AppError("bad_request", `The body is longer than ${MAX_BODY_BYTES} bytes.`, { status: 413 });
  if (Number(incoming.headers["content-length"] ?? 0) > MAX_BODY_BYTES) throw tooLong();
  const chunks: Uint8Array<ArrayBuffer>[] = [];
  let received = 0;
  // Not `for await`, which ends the connection where the loop is left.
  await new Promise<void>((resolve, reject) => {
    incoming.on("data", (chunk: Uint8Array<ArrayBuffer>) => {
      received += chunk.byteLength;
      if (received > MAX_BODY_BYTES) reject(tooLong());
      else chunks.push(chunk);
    });
    incoming.once("end", resolve);
    incoming.once("error", reject);
  });
  return new Blob(chunks);
}

async function send(outgoing: ServerResponse, response: Response, server: Server): Promise<void> {
  const body = response.body === null ? undefined : Buffer.from(await response.arrayBuffer());
  outgoing.statusCode = response.status;
  for (const [name, value] of response.headers) outgoing.setHeader(name, value);
  if (!server.listening) outgoing.setHeader("connection", "close");
  outgoing.end(body);
}
