import { STATUS_CODES } from "node:http";
import type { HttpResponse } from "./uws.ts";

/*
 * One response on uWebSockets.js. It is `open` until it was ended or the client is gone, and `closed` for good then.
 * uWebSockets.js ends the whole process on a response that is touched after that, so nothing outside this file holds
 * one: every write goes through #write, which looks at the state first and corks.
 */

/** Statuses that never carry a body (RFC 9110). */
const BODILESS = new Set([101, 204, 205, 304]);
/** What uWebSockets.js writes by itself. */
const OWN_HEADERS = new Set(["content-length", "transfer-encoding", "connection", "keep-alive", "date"]);

type Chunk = Uint8Array;

/** What is left of a chunk that the socket did not take at once. */
interface Unsent {
  chunk: Chunk;
  /** The write offset at which the chunk began. */
  from: number;
}

export class Exchange {
  readonly #res: HttpResponse;
  readonly #onGone: () => void;
  #closed = false;
  #unsent: Unsent | null = null;
  #total = 0;
  /** Wakes the one that waits for the socket to take more; also called when the response closes. */
  #wake: (() => void) | null = null;
  #cancel: (() => void) | null = null;

  /** To be built first thing in a route's handler. `onGone` runs when the client left before the response was ended. */
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

  /** Registers for the body's chunks; each is only valid during the call. Only inside the route's handler. */
  onData(take: (chunk: ArrayBuffer, isLast: boolean) => void): void {
    this.#res.onData(take);
  }

  /** Answers with a text in one call. `thenClose` also closes the connection, where the rest of the request is unwanted. */
  endWith(status: number, headers: Record<string, string>, body: string, thenClose = false): void {
    this.#write((res) => {
      this.#writeHead(status, Object.entries(headers));
      this.#close();
      res.end(body, thenClose);
    });
  }

  /** Sends a response. Never rejects: a body that fails half way ends the connection, so that nobody takes it for whole. */
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

  /** Without a Content-Length: in one call where the whole body is at hand, in chunks where it is still being made. */
  async #sendUnsized(response: Response, reader: ReadableStreamDefaultReader<Chunk>): Promise<void> {
    const first = await reader.read();
    const next = first.done ? null : reader.read();
    // The reader of a later chunk may fail before it is awaited.
    next?.catch(() => undefined);
    const second = next === null ? null : await Promise.race([next, nextTurn()]);
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
      res.end();
    });
  }

  /** Waits until the socket takes more, then for the chunk. */
  async #nextOf<T>(next: Promise<T>, takes: boolean): Promise<T> {
    next.catch(() => undefined);
    if (!takes) await this.#writable();
    return next;
  }

  /** With a Content-Length: what the socket does not take stays here, not in a buffer of uWebSockets.js. */
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

  /** Hands over what is left of the chunk from `offset` on; true where the socket took all of it. */
  #trySend(offset: number): boolean {
    const { chunk, from } = this.#unsent as Unsent;
    const [ok, responded] = this.#res.tryEnd(chunk.subarray(offset - from), this.#total);
    if (ok || responded) this.#unsent = null;
    if (responded) this.#finish();
    return ok;
  }

  /** The socket takes more. Called by uWebSockets.js, also without need. */
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
      res.end(body);
    });
  }

  #endWithoutBody(response: Response, length: number | null, head: boolean): void {
    this.#writeHead(response.status, response.headers);
    this.#finish();
    // An empty answer that might have a body says Content-Length: 0, or the client would wait for one. Written as a
    // header: after endWithoutBody(n) uWebSockets.js itself waits for n bytes, and closes at the next request.
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

  /** The whole body was handed over. */
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

/** Resolves, with nothing, after what is already queued has run. */
function nextTurn(): Promise<null> {
  return new Promise((resolve) => setImmediate(resolve, null));
}
