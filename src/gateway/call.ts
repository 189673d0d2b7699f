import type { Socket } from "socket.io";
import type { z } from "zod";
import type { Caller } from "../auth/caller.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError, ERRORS, toWireError } from "../errors.ts";
import { hideStreamKeys } from "../hide-stream-keys.ts";
import type { CallLimits } from "../limits/call-limits.ts";
import type { Logger } from "../logger.ts";
import type { Metrics, Tally } from "../metrics/metrics.ts";
import { type Ack, parseWire } from "../protocol/ack.ts";

/*
 * One way in for every call: limits, parse, handler, ack. Whatever goes wrong becomes the error of the ack; what a
 * client did not do wrong is logged, and its text stays here.
 */

/** What a connected socket carries. */
export interface SocketData {
  /** Whose token it came with; in the namespaces that take tokens. */
  caller: Caller;
  /** Set where the socket asked for brief acks of heartbeats; players only. */
  wantsBriefAcks?: true;
  /** Topics it watches; dashboards only. */
  topics: Set<string>;
  /** Tells, or ends, its socket when its token comes to its end. */
  tokenTimer?: NodeJS.Timeout;
}

export interface CallParts {
  limits: CallLimits;
  metrics: Metrics;
  logger: Logger;
}

export type AckFunction = (answer: Ack) => void;

export type GatewaySocket = Socket<
  Record<string, never>,
  Record<string, (...payload: never[]) => void>,
  Record<string, never>,
  SocketData
>;

/** Who calls, as far as every call asks. */
export interface CallIdentity {
  /** Whose calls are counted together. */
  userId: string;
  /** Past it no call is taken; null where that never comes. */
  expiresAt: Date | null;
}

/** Handles an event. The handler's result is the ack. */
export type CallHandler<T> = (payload: T, socket: GatewaySocket) => Promise<object> | object;

/** Answers a call, once. */
export interface Answer {
  give(result: object): void;
  /** Whatever went wrong: it becomes the ack's error. */
  refuse(error: unknown): void;
}

/** Handles an event that comes too often for a promise each. */
export type FrequentCallHandler<T> = (payload: T, socket: GatewaySocket, answer: Answer) => void;

interface Call {
  schema: z.ZodType;
  handle: FrequentCallHandler<never>;
  succeeded: Tally;
}

/** What a namespace's sockets may call; anything else is refused as `bad_request`. One a namespace. */
export class CallTable {
  readonly #namespace: string;
  readonly #parts: CallParts;
  readonly #identify: (socket: GatewaySocket) => CallIdentity;
  readonly #calls = new Map<string, Call>();

  /** `identify` is asked at every call; by default it is the token's caller. */
  constructor(
    namespace: string,
    parts: CallParts,
    identify: (socket: GatewaySocket) => CallIdentity = (socket) => socket.data.caller,
  ) {
    this.#namespace = namespace;
    this.#identify = identify;
    this.#parts = parts;
  }

  /** `after` runs when the ack has been handed over. */
  on<S extends z.ZodType>(
    event: string,
    schema: S,
    handler: CallHandler<z.output<S>>,
    after?: (payload: z.output<S>, socket: GatewaySocket) => void,
  ): void {
    const answerWith = async (payload: z.output<S>, socket: GatewaySocket, answer: Answer) => {
      try {
        answer.give(await handler(payload, socket));
        after?.(payload, socket);
      } catch (error) {
        answer.refuse(error);
      }
    };
    this.onFrequent(event, schema, (payload, socket, answer) => void answerWith(payload, socket, answer)); // never rejects
  }

  /** For a call whose every allocation counts: the handler answers when it can, and may throw at once. */
  onFrequent<S extends z.ZodType>(event: string, schema: S, handle: FrequentCallHandler<z.output<S>>): void {
    const succeeded = this.#parts.metrics.socketCalls.tally({ namespace: this.#namespace, event, outcome: "ok" });
    this.#calls.set(event, { schema, handle, succeeded });
  }

  /** Takes the calls of a socket from now on. */
  serve(socket: GatewaySocket): void {
    // A client may name an event by a number, too; a throw in here would end the process.
    socket.onAny((event: string | number, ...given: unknown[]) => {
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
    });
  }

  /** Limits, parse, handler, ack: the one way of every call, however its frame was read. */
  take(socket: GatewaySocket, event: string | number, given: unknown, ack: AckFunction): void {
    const call = this.#calls.get(event as string);
    const answer = new CallAnswer(this, socket, event as string, call?.succeeded ?? null, ack);
    try {
      const { userId, expiresAt } = this.#identify(socket);
      this.#parts.limits.take(userId, socket);
      if (call === undefined) throw new AppError("bad_request", this.#noSuchCall(event));
      if (expiresAt !== null && expiresAt.getTime() <= Date.now()) {
        throw new AppError("unauthenticated", "The token has expired; connect again with a new one.");
      }
      call.handle(parseWire(call.schema, given) as never, socket, answer);
    } catch (error) {
      answer.refuse(error);
    }
  }

  /** Turns what was thrown into the ack of a refused call. */
  refuse(socket: GatewaySocket, event: string, thrown: unknown, ack: AckFunction): void {
    const error = toUnavailable(thrown);
    const wire = toWireError(error);
    const known = this.#calls.has(event) ? event : "unknown";
    this.#parts.metrics.socketCalls.inc({ namespace: this.#namespace, event: known, outcome: wire.code });
    this.#parts.logger[ERRORS[wire.code].level](
      { err: error, event: known, userId: this.#identify(socket).userId },
      "a call was refused",
    );
    ack({ ok: false, error: wire });
  }

  #noSuchCall(event: string | number): string {
    return `There is no call ${JSON.stringify(toShown(String(event)))} here; the calls are ${[...this.#calls.keys()].join(", ")}.`;
  }

  /** Where no ack can be sent, the client is told by an event, as long as it keeps within its limits. */
  #complain(socket: GatewaySocket, event: string, message: string): void {
    this.#parts.metrics.socketCalls.inc({ namespace: this.#namespace, event: "unknown", outcome: "bad_request" });
    try {
      this.#parts.limits.take(this.#identify(socket).userId, socket);
    } catch {
      return; // past its limits it is told nothing
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
    this.#ack({ ok: true, ...result });
    this.#succeeded?.inc();
  }

  refuse(error: unknown): void {
    this.#table.refuse(this.#socket, this.#event, error, this.#ack);
  }
}

/** What a client named an event, as it is told and logged: whatever it may be. */
function toShown(event: string): string {
  return hideStreamKeys(event).slice(0, 100);
}
