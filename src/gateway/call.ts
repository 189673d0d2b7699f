import type { Socket } from "socket.io";
import type { z } from "zod";
import type { Caller } from "../auth/caller.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError, toWireError } from "../errors.ts";
import { hideStreamKeys } from "../hide-stream-keys.ts";
import type { CallLimits } from "../limits/call-limits.ts";
import type { Logger } from "../logger.ts";
import type { Metrics, Tally } from "../metrics/metrics.ts";
import { RefusalLog } from "../metrics/refusal-log.ts";
import { type Ack, parseWire } from "../protocol/ack.ts";
import { isLong, ReadyJson, toJsonSlices } from "../protocol/json-slices.ts";
import { LongAnswers } from "./long-answers.ts";
import { createSocketGuard, type SocketGuard } from "./socket-guard.ts";

/*
 * The one way in for every call: limits, parse, handler, ack. Every error becomes the error of the ack. An error that is
 * not the client's fault is logged, and the client does not see its text.
 */

/** The data of a connected socket. */
export interface SocketData {
  /** The user whose token the socket came with; only in the namespaces that take tokens. */
  caller: Caller;
  /** Set where the socket asked for brief acks of heartbeats; players only. */
  wantsBriefAcks?: true;
  /** The topics that the socket watches; only dashboards. */
  topics: Set<string>;
  /**
   * When the token ends, by the monotonic clock: somebody may set the other one. After it no call is taken. Only in the
   * namespaces that take tokens.
   */
  tokenEndsAt?: number;
  /** Warns or ends the socket when its token ends soon. */
  tokenTimer?: NodeJS.Timeout;
}

export interface CallParts {
  limits: CallLimits;
  metrics: Metrics;
  logger: Logger;
}

export type AckFunction = (answer: Ack | ReadyJson) => void;

export type GatewaySocket = Socket<
  Record<string, never>,
  Record<string, (...payload: never[]) => void>,
  Record<string, never>,
  SocketData
>;

/** The caller, as far as every call needs to know. */
export interface CallIdentity {
  /** Calls are counted by user. */
  userId: string;
}

/** Handles an event. The result of the handler becomes the ack. */
export type CallHandler<T> = (payload: T, socket: GatewaySocket) => Promise<object> | object;

/** Answers one call, once. */
export interface Answer {
  /** The result becomes the ack; a ReadyJson is the whole ack. */
  give(result: object): void;
  /** The error, of any type, becomes the error of the ack. */
  refuse(error: unknown): void;
}

/** Handles an event that is too frequent for one promise a call. */
export type FrequentCallHandler<T> = (payload: T, socket: GatewaySocket, answer: Answer) => void;

/** Tells how many calls a call counts as, from what the client sent, which nobody has checked yet. */
export type CostOf = (given: unknown) => number;

export interface CallOptions<T> {
  /** Runs once the ack has been handed over. */
  after?: (payload: T, socket: GatewaySocket) => void;
  /** By default each call counts as one. */
  costOf?: CostOf;
}

interface Call {
  costOf: CostOf | undefined;
  schema: z.ZodType;
  handle: FrequentCallHandler<never>;
  succeeded: Tally;
}

/** The calls of one namespace. Every other event is refused as `bad_request`. */
export class CallTable {
  readonly #namespace: string;
  readonly #parts: CallParts;
  readonly #identify: (socket: GatewaySocket) => CallIdentity;
  readonly #guard: SocketGuard;
  readonly #calls = new Map<string, Call>();
  readonly #refusals: RefusalLog;
  readonly #long = new LongAnswers();

  /** `identify` names the caller at every call: by default the user of the token. */
  constructor(
    namespace: string,
    parts: CallParts,
    identify: (socket: GatewaySocket) => CallIdentity = (socket) => socket.data.caller,
  ) {
    this.#namespace = namespace;
    this.#identify = identify;
    this.#parts = parts;
    this.#refusals = new RefusalLog(parts.logger);
    this.#guard = createSocketGuard(parts.logger);
  }

  /** Declares a call. */
  on<S extends z.ZodType>(
    event: string,
    schema: S,
    handler: CallHandler<z.output<S>>,
    { after, costOf }: CallOptions<z.output<S>> = {},
  ): void {
    const answerWith = async (payload: z.output<S>, socket: GatewaySocket, answer: Answer) => {
      try {
        const result = await handler(payload, socket);
        if (isLong(result)) await this.#long.give(socket.conn, async () => answer.give(await toReadyAck(result)));
        else answer.give(result);
        after?.(payload, socket);
      } catch (error) {
        answer.refuse(error);
      }
    };
    const handle = (payload: z.output<S>, socket: GatewaySocket, answer: Answer) =>
      void answerWith(payload, socket, answer); // never rejects
    this.onFrequent(event, schema, handle, costOf);
  }

  /** Declares a call whose every allocation counts. The handler answers when it can; it may throw synchronously. */
  onFrequent<S extends z.ZodType>(
    event: string,
    schema: S,
    handle: FrequentCallHandler<z.output<S>>,
    costOf?: CostOf,
  ): void {
    const succeeded = this.#parts.metrics.socketCalls.tally({ namespace: this.#namespace, event, outcome: "ok" });
    this.#calls.set(event, { schema, handle, succeeded, costOf });
  }

  /** Takes the calls of a socket from now on. */
  serve(socket: GatewaySocket): void {
    // A client may name an event by a number.
    socket.onAny((event: string | number, ...given: unknown[]) =>
      this.#guard(socket, () => this.#hear(socket, event, given)),
    );
  }

  #hear(socket: GatewaySocket, event: string | number, given: unknown[]): void {
    const ack = given.at(-1);
    const call = this.#calls.get(event as string);
    if (typeof ack !== "function") {
      this.#complain(
        socket,
        String(event),
        call === undefined ? this.#noSuchCall(event) : "expected an acknowledgement function as the last argument",
      );
    } else {
      const payload = given.length > 1 ? given[0] : undefined;
      this.take(socket, event, payload, ack as AckFunction);
    }
  }

  /** Runs one call: limits, parse, handler, ack. It does not matter who read the frame. */
  take(socket: GatewaySocket, event: string | number, given: unknown, ack: AckFunction): void {
    const call = this.#calls.get(event as string);
    const answer = new CallAnswer(this, socket, event as string, call?.succeeded ?? null, ack);
    try {
      this.#parts.limits.take(this.#identify(socket).userId, socket, call?.costOf?.(given));
      if (call === undefined) throw new AppError("bad_request", this.#noSuchCall(event));
      const { tokenEndsAt } = socket.data;
      if (tokenEndsAt !== undefined && tokenEndsAt <= performance.now()) {
        throw new AppError("unauthenticated", "The token has expired; connect again with a new one.");
      }
      call.handle(parseWire(call.schema, given) as never, socket, answer);
    } catch (error) {
      answer.refuse(error);
    }
  }

  /** Acks a call with the error that refused it. */
  refuse(socket: GatewaySocket, event: string, thrown: unknown, ack: AckFunction): void {
    const error = toUnavailable(thrown);
    const wire = toWireError(error);
    const known = this.#calls.has(event) ? event : "unknown";
    this.#parts.metrics.socketCalls.inc({ namespace: this.#namespace, event: known, outcome: wire.code });
    this.#refusals.write(error, "a call was refused", { event: known, userId: this.#identify(socket).userId });
    ack({ ok: false, error: wire });
  }

  #noSuchCall(event: string | number): string {
    return `There is no call ${JSON.stringify(toShown(String(event)))} here; the calls are ${[...this.#calls.keys()].join(", ")}.`;
  }

  /** Tells the client by an event, where no ack can be sent and the client is within its limits. */
  #complain(socket: GatewaySocket, event: string, message: string): void {
    this.#parts.metrics.socketCalls.inc({ namespace: this.#namespace, event: "unknown", outcome: "bad_request" });
    try {
      this.#parts.limits.take(this.#identify(socket).userId, socket);
    } catch {
      return; // a client past its limits hears nothing
    }
    (socket as Socket).emit("problem", { event: toShown(event), error: { code: "bad_request", message } });
  }
}

class CallAnswer implements Answer {
  readonly #table: CallTable;
  readonly #socket: GatewaySocket;
  readonly #event: string;
  readonly #succeeded: Tally | null;
  readonly #ack: AckFunction;

  constructor(table: CallTable, socket: GatewaySocket, event: string, succeeded: Tally | null, ack: AckFunction) {
    this.#table = table;
    this.#socket = socket;
    this.#event = event;
    this.#succeeded = succeeded;
    this.#ack = ack;
  }

  give(result: object): void {
    this.#ack(result instanceof ReadyJson ? result : { ok: true, ...result });
    this.#succeeded?.inc();
  }

  refuse(error: unknown): void {
    this.#table.refuse(this.#socket, this.#event, error, this.#ack);
  }
}

/** The ack of a long result, made in turns with other work. */
async function toReadyAck(result: object): Promise<ReadyJson> {
  return new ReadyJson((await toJsonSlices({ ok: true, ...result })).join(""));
}

/** The event name that a client sent, fit for messages and logs. */
function toShown(event: string): string {
  return hideStreamKeys(event).slice(0, 100);
}
