import { AppError } from "../errors.ts";
import type { UnreadBudget } from "./unread-budget.ts";

const RETRY_MS = 1000;

/** Where a body comes from: the request on the socket. */
export interface BodySource {
  pause(): void;
  resume(): void;
}

/**
 * The body of a request as a stream. It can be fed, and made to fail, in any state. Nothing is taken from the socket unless
 * the body is being read, except for what came together with the request's headers: one read of the socket. That is taken
 * from the budget until the body is read; where too little is left the body fails as `unavailable`.
 */
export class BodyStream {
  readonly #source: BodySource;
  readonly #budget: UnreadBudget | null;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #isPaused = false;
  #isRead = false;
  #budgetBytes = 0;
  /** Whether the last chunk has come. */
  isComplete = false;
  readonly stream = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        this.#controller = controller;
      },
      pull: () => {
        this.#isRead = true;
        this.#giveBack();
        this.#resume();
      },
      // The rest of the body comes to nobody, and is not kept.
      cancel: () => {
        this.#controller = null;
        this.#resume();
      },
    },
    { highWaterMark: 0 },
  );

  /** Without a budget the body may wait as it is: it is short. */
  constructor(source: BodySource, budget: UnreadBudget | null) {
    this.#source = source;
    this.#budget = budget;
  }

  push(chunk: ArrayBuffer, isLast: boolean): void {
    if (isLast) this.isComplete = true;
    if (this.#controller === null) return;
    if (!this.#mayKeep(chunk.byteLength)) {
      const message = "Too many long bodies wait to be read; send the request again later.";
      this.fail(new AppError("unavailable", message, { retryAfterMs: RETRY_MS }));
      return;
    }
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
    this.#giveBack();
    this.#resume();
  }

  #mayKeep(bytes: number): boolean {
    if (this.#isRead || this.#budget === null) return true;
    if (!this.#budget.take(bytes)) return false;
    this.#budgetBytes += bytes;
    return true;
  }

  #giveBack(): void {
    this.#budget?.giveBack(this.#budgetBytes);
    this.#budgetBytes = 0;
  }

  #resume(): void {
    if (!this.#isPaused) return;
    this.#isPaused = false;
    this.#source.resume();
  }
}
