import { AppError } from "../errors.ts";

/** Where a body comes from: the request on the socket. */
export interface BodySource {
  pause(): void;
  resume(): void;
}

/**
 * The body of a request as a stream. It can be fed, and made to fail, in any state. Nothing is taken from the socket unless
 * the body is being read, except for what came together with the request's headers: at most one read of the socket.
 */
export class BodyStream {
  readonly #source: BodySource;
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
    { highWaterMark: 0 },
  );

  constructor(source: BodySource) {
    this.#source = source;
  }

  push(chunk: ArrayBuffer, isLast: boolean): void {
    if (isLast) this.isComplete = true;
    if (this.#controller === null) return;
    if (chunk.byteLength > 0) this.#controller.enqueue(new Uint8Array(chunk.slice(0)));
    if (isLast) {
      this.#controller.close();
      this.#controller = null;
    } else if (!this.#isPaused && (this.#controller.desiredSize ?? 0) <= 0) {
      this.#isPaused = true;
      this.#source.pause();
    }
  }

  fail(error: Error): void {
    this.#controller?.error(error);
    this.#controller = null;
  }

  /** Lets go of everything that nobody has read. What still comes is taken from the socket, and not kept. */
  drop(): void {
    this.fail(new AppError("bad_request", "The request was answered before its body was read."));
    this.#resume();
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#source.resume();
  }
}
