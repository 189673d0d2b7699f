import { AppError } from "../errors.ts";
import type { HttpRequest } from "./uws.ts";

/*
 * The head of a request, and the Request that is made of it. uWebSockets.js keeps a request on the stack, so its head is
 * copied while the route's handler runs.
 */

export interface RequestHead {
  method: string;
  /** The path as it came. */
  path: string;
  /** Without the question mark. */
  query: string;
  headers: [name: string, value: string][];
  /** The announced length of the body; null where none was announced. */
  length: number | null;
}

/**
 * Headers that say where a request ends and for whom it is. With two of them, a proxy and this server may read two different
 * requests: RFC 9112, 6.3.
 */
const ONCE = new Set(["content-length", "transfer-encoding", "host"]);
/** Methods that the constructor of Request refuses. */
const UNSUPPORTED_METHODS = new Set(["CONNECT", "TRACE", "TRACK"]);
/** Bodies of these methods are ignored, because the fetch standard allows them none. */
const BODYLESS_METHODS = new Set(["GET", "HEAD"]);
/** A name or an address, perhaps with a port: a Host header with more characters could change the path of the URL. */
const HOST = /^(\[[0-9a-fA-F:.]+\]|[\w.-]+)(:\d{1,5})?$/;

/** @throws AppError `bad_request` where it is not certain where the request ends, or for whom it is */
export function readHead(req: HttpRequest): RequestHead {
  const headers: RequestHead["headers"] = [];
  const once = new Map<string, string>();
  let isAmbiguous = false;
  req.forEach((name, value) => {
    headers.push([name, value]);
    if (!ONCE.has(name)) return;
    isAmbiguous ||= once.has(name) || value === "";
    once.set(name, value);
  });
  const length = once.get("content-length");
  const encoding = once.get("transfer-encoding");
  isAmbiguous ||= encoding !== undefined && (length !== undefined || encoding.toLowerCase() !== "chunked");
  if (isAmbiguous) {
    throw new AppError("bad_request", "The request's length, encoding or host is given twice, or is none.");
  }
  return {
    method: req.getCaseSensitiveMethod(),
    path: req.getUrl(),
    query: req.getQuery(),
    headers,
    length: length === undefined ? null : Number(length),
  };
}

export function mayHaveBody({ method }: RequestHead): boolean {
  return !BODYLESS_METHODS.has(method);
}

/** @throws AppError `bad_request` for a method, a header, a host or a target that no Request can have */
export function toRequest(head: RequestHead, body: ReadableStream<Uint8Array> | null): Request {
  const { method, path, query } = head;
  if (UNSUPPORTED_METHODS.has(method)) {
    throw new AppError("bad_request", `The method ${method} is not supported.`, { status: 501 });
  }
  try {
    const headers = new Headers(head.headers);
    const host = headers.get("host") || "localhost";
    if (!HOST.test(host) || !path.startsWith("/")) throw new TypeError("neither a host nor a path");
    const url = new URL(`http://${host}${path}${query ? `?${query}` : ""}`);
    // A proxy in front decides by the path that came. Where the URL standard makes another of it, two would be meant.
    if (url.pathname !== path) throw new TypeError("a path that the URL standard changes");
    return new Request(url, { method, headers, body, duplex: "half" } as RequestInit);
  } catch (cause) {
    throw new AppError("bad_request", "The request's method, target or headers are malformed.", { cause });
  }
}
