import { STATUS_CODES } from "node:http";
import { setImmediate as nextTurn } from "node:timers/promises";
import type { HttpResponse } from "./uws.ts";

/*
 * One HTTP request and its response on uWebSockets.js.
 *
 *   open ──(the response is ended, or the client is gone)──▶ closed, for good
 *
 * Touching a closed response ends the whole process. So nothing outside this file holds one, and every write goes through
 * #write, which checks the state and corks.
 */

/** Statuses that never carry a body (RFC 9110). */
const BODILESS = new Set([101, 204, 205, 304]);
/** Headers that uWebSockets.js writes by itself. */
const OWN_HEADERS = new Set(["content-length", "transfer-encoding", "connection", "keep-alive", "date"]);
/** What uWebSockets.js collects of the writes of a handler before it sends them. */
const WRITE_BUFFER_BYTES = 16 * 1024;

type Chunk = Uint8Array;

/** A chunk that the socket has not taken completely. */
interface Unsent {
  chunk: Chunk;
  /** The write offset at which the chunk began. */
  from: number;
}

export class HttpExchange {
  readonly #res: HttpResponse;
  readonly #onGone: () => void;
  #closed = false;
  #unsent: Unsent | null = null;
  #total = 0;
  #closesAfter = false;
  /** Ends the wait for the socket to take more; also called when the response closes. */
  #wake: (() => void) | null = null;
  /** Cancels the body of a response that is not completely sent; null without one. */
  #cancel: (() => void) | null = null;

  /** Must be built before anything else in a route's handler. `onGone` runs if the client leaves before the response ends. */
  constructor(res: HttpResponse, onGone: () => void) {
    this.#res = res;
    this.#onGone = onGone;
    res.onAborted(() => {
      this.#close();
      this.#onGone();
    });
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Takes the chunks of the request's body; a chunk is valid only during the call. To be called inside the route's handler. */
  onData(take: (chunk: ArrayBuffer, isLast: boolean) => void): void {
    this.#res.onData(take);
  }

  /** Takes no more of the request's body until `resume`. */
  pause(): void {
    if (!this.#closed) this.#res.pause();
  }

  resume(): void {
    if (!this.#closed) this.#res.resume();
  }

  /** Closes the connection once the response is sent: the rest of the request is not read. */
  closeAfterResponse(): void {
    this.#closesAfter = true;
  }

  /**
   * Answers with a text, and closes the connection, so that the rest of the request is not read. With `atOnce`, inside the
   * route's handler, the connection is closed when this returns: uWebSockets.js does so unless the answer still fits into
   * its buffer. Else it would go on with what it has read of the connection, as if that were the next request.
   */
  endAndClose(status: number, headers: Record<string, string>, body: string, { atOnce }: { atOnce: boolean }): void {
    this.#write((res) => {
      this.#writeHead(status, Object.entries(headers));
      this.#close();
      res.end(atOnce ? body.padEnd(WRITE_BUFFER_BYTES) : body, true);
    });
  }

  /** Sends a response. Never rejects: if the body fails half-way the connection is closed, so that nobody takes the body for complete. */
  async send(response: Response, { head }: { head: boolean }): Promise<"sent" | "gone" | "broken"> {
    const length = toLength(response.headers.get("content-length"));
    if (head || response.body === null || BODILESS.has(response.status)) {
      this.#cancelUnread(response);
      return this.#write(() => this.#endWithoutBody(response, length, head)) ? "sent" : "gone";
    }
    const reader = response.body.getReader();
    this.#cancel = () => void reader.cancel().catch(() => undefined);
    if (this.#closed) this.#cancel();
    try {
      if (length === null) await this.#sendUnsized(response, reader);
      else await this.#sendSized(response, reader, length);
    } catch {
      this.destroy();
      return "broken";
    }
    return this.#unfinished ? "gone" : "sent";
  }

  /** Ends the connection at once. */
  destroy(): void {
    if (this.#closed) return;
    this.#res.close();
  }

  get #unfinished(): boolean {
    return this.#cancel !== null;
  }

  /** Sends a body without Content-Length: in one call if the whole body is ready, else chunk by chunk. */
  async #sendUnsized(response: Response, reader: ReadableStreamDefaultReader<Chunk>): Promise<void> {
    const first = await reader.read();
    const next = first.done ? null : reader.read();
    // The second read may fail before it is awaited.
    next?.catch(() => undefined);
    const second = next === null ? null : await Promise.race([next, nextTurn(null)]);
    if (next === null || second?.done) {
      this.#end(response, first.value ?? "");
      return;
    }
    let takes = false;
    this.#write((res) => {
      res.onWritable(() => this.#resume());
      this.#writeHead(response.status, response.headers);
      takes = res.write(first.value as Chunk);
    });
    let step = second ?? (await this.#nextOf(next, takes));
    while (!step.done && !this.#closed) {
      const chunk = step.value;
      this.#write((res) => {
        takes = chunk.byteLength === 0 || res.write(chunk);
      });
      step = await this.#nextOf(reader.read(), takes);
    }
    this.#write((res) => {
      this.#finish();
      res.end(undefined, this.#closesAfter);
    });
  }

  /** Waits until the socket takes more, and then for the next chunk. */
  async #nextOf<T>(next: Promise<T>, takes: boolean): Promise<T> {
    next.catch(() => undefined);
    if (!takes) await this.#writable();
    return next;
  }

  /** Sends a body with Content-Length. Bytes that the socket does not take stay here, not in a buffer of uWebSockets.js. */
  async #sendSized(response: Response, reader: ReadableStreamDefaultReader<Chunk>, length: number): Promise<void> {
    this.#total = length;
    let handedOver = 0;
    for (;;) {
      const { done, value } = await reader.read();
      if (this.#closed) return;
      if (done) break;
      if (value.byteLength === 0) continue;
      const begun = handedOver > 0;
      handedOver += value.byteLength;
      if (handedOver > length) throw new Error("the body is longer than its Content-Length");
      this.#write((res) => {
        if (!begun) {
          res.onWritable((offset) => this.#resume(offset));
          this.#writeHead(response.status, response.headers);
        }
        this.#sendChunk(value);
      });
      if (this.#unsent !== null) await this.#writable();
    }
    if (handedOver < length) throw new Error("the body is shorter than its Content-Length");
    this.#end(response, "");
  }

  #sendChunk(chunk: Chunk): void {
    const from = this.#res.getWriteOffset();
    this.#unsent = { chunk, from };
    this.#trySend(from);
  }

  /** Hands over the chunk from `offset` on, and tells whether the socket took all of it. */
  #trySend(offset: number): boolean {
    const { chunk, from } = this.#unsent as Unsent;
    const [ok, responded] = this.#res.tryEnd(chunk.subarray(offset - from), this.#total);
    if (ok || responded) this.#unsent = null;
    if (responded) this.#finish();
    return ok;
  }

  /** Called by uWebSockets.js when the socket takes more, and sometimes without reason. */
  #resume(offset?: number): boolean {
    if (this.#closed) return true;
    if (this.#unsent !== null && offset !== undefined) {
      let ok = false;
      this.#write(() => {
        ok = this.#trySend(offset);
      });
      if (!ok) return false;
    }
    this.#wake?.();
    return true;
  }

  #writable(): Promise<void> {
    return new Promise((resolve) => {
      if (this.#closed) resolve();
      else this.#wake = resolve;
    });
  }

  #end(response: Response, body: string | Chunk): void {
    this.#write((res) => {
      this.#writeHead(response.status, response.headers);
      this.#finish();
      res.end(body, this.#closesAfter);
    });
  }

  #endWithoutBody(response: Response, length: number | null, head: boolean): void {
    this.#writeHead(response.status, response.headers);
    this.#finish();
    if (this.#closesAfter) {
      this.#res.endWithoutBody(length ?? 0, true);
      return;
    }
    // An empty answer with a status that allows a body needs Content-Length: 0, or the client waits for a body. The header is
    // written by hand: after endWithoutBody(n) uWebSockets.js itself waits for n bytes, and closes at the next request.
    const announced = BODILESS.has(response.status) ? null : (length ?? (head ? null : 0));
    if (announced !== null) this.#res.writeHeader("content-length", String(announced));
    this.#res.endWithoutBody();
  }

  #writeHead(status: number, headers: Iterable<[string, string]>): void {
    this.#res.writeStatus(`${status} ${STATUS_CODES[status] ?? "Status"}`);
    for (const [name, value] of headers) {
      if (!OWN_HEADERS.has(name)) this.#res.writeHeader(name, value);
    }
  }

  /** Runs `write` corked, unless the response is closed. */
  #write(write: (res: HttpResponse) => void): boolean {
    if (this.#closed) return false;
    this.#res.cork(() => write(this.#res));
    return true;
  }

  /** To be called when the whole body was handed over. */
  #finish(): void {
    this.#cancel = null;
    this.#close();
  }

  #close(): void {
    this.#closed = true;
    this.#unsent = null;
    this.#cancel?.();
    this.#wake?.();
  }

  #cancelUnread(response: Response): void {
    void response.body?.cancel().catch(() => undefined);
  }
}

function toLength(header: string | null): number | null {
  return header !== null && /^\d{1,15}$/.test(header) ? Number(header) : null;
}
