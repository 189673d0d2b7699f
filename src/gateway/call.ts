import type { Socket } from "socket.io";
import type { z } from "zod";
import type { Caller } from "../auth/caller.ts";
import { toUnavailable } from "../db/unavailable.ts";
import { AppError, ERRORS, toWireError } from "../errors.ts";
import { hideStreamKeys } from "../hide-stream-keys.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../ops/metrics.ts";
import { type Ack, parseWire } from "../protocol/ack.ts";
import type { CallLimits } from "./call-limits.ts";

/*
 * One way in for every call: limits, parse, handler, ack. Whatever goes wrong becomes the error of the ack; what a
 * client did not do wrong is logged, and its text stays here.
 */

/** What a connected socket carries. */
export interface SocketData {
  /** Whose token it came with; in the namespaces that take tokens. */
  caller: Caller;
  /** Topics it watches; dashboards only. */
  topics: Set<string>;
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

/** Handles an event. The handler's result is the ack; it may name what is to happen once the ack is on its way. */
export type CallHandler<T> = (payload: T) => Promise<object> | object;

/** Declares what a namespace's sockets may call; anything else is refused as `bad_request`. */
export class CallTable {
  readonly #parts: CallParts;
  readonly #socket: GatewaySocket;
  readonly #identify: () => CallIdentity;
  readonly #events = new Set<string>();

  /** `identify` is asked at every call; by default it is the token's caller. */
  constructor(socket: GatewaySocket, parts: CallParts, identify: () => CallIdentity = () => socket.data.caller) {
    this.#socket = socket;
    this.#identify = identify;
    this.#parts = parts;
    // A client may name an event by a number, too; a throw in here would end the process.
    socket.onAny((event: string | number, ...given: unknown[]) => {
      if (!this.#events.has(event as string)) this.#refuseUnknown(String(event), given);
    });
  }

  /** `after` runs when the ack has been handed over. */
  on<S extends z.ZodType>(
    event: string,
    schema: S,
    handler: CallHandler<z.output<S>>,
    after?: (payload: z.output<S>) => void,
  ): void {
    this.#events.add(event);
    (this.#socket as Socket).on(event, (...given: unknown[]) => {
      const ack = given.at(-1);
      if (typeof ack !== "function") {
        this.#complain(event, "expected an acknowledgement function as the last argument");
        return;
      }
      void this.#answer(event, schema, handler, given.length > 1 ? given[0] : undefined, ack as AckFunction, after); // never rejects
    });
  }

  async #answer<S extends z.ZodType>(
    event: string,
    schema: S,
    handler: CallHandler<z.output<S>>,
    given: unknown,
    ack: AckFunction,
    after: ((payload: z.output<S>) => void) | undefined,
  ): Promise<void> {
    const { limits, metrics } = this.#parts;
    const { userId, expiresAt } = this.#identify();
    try {
      await limits.take(userId, this.#socket);
      if (expiresAt !== null && expiresAt.getTime() <= Date.now()) {
        throw new AppError("unauthenticated", "The token has expired; connect again with a new one.");
      }
      const payload = parseWire(schema, given);
      ack({ ok: true, ...(await handler(payload)) });
      metrics.socketCalls.inc({ namespace: this.#socket.nsp.name, event, outcome: "ok" });
      after?.(payload);
    } catch (error) {
      this.#refuse(event, error, ack);
    }
  }

  #refuse(event: string, thrown: unknown, ack: AckFunction): void {
    const error = toUnavailable(thrown);
    const wire = toWireError(error);
    const level = ERRORS[wire.code].level;
    this.#parts.metrics.socketCalls.inc({ namespace: this.#socket.nsp.name, event, outcome: wire.code });
    this.#parts.logger[level]({ err: error, event, userId: this.#identify().userId }, "a call was refused");
    ack({ ok: false, error: wire });
  }

  #refuseUnknown(event: string, given: unknown[]): void {
    const ack = given.at(-1);
    const message = `There is no call ${JSON.stringify(toShown(event))} here; the calls are ${[...this.#events].join(", ")}.`;
    if (typeof ack !== "function") {
      this.#complain(event, message);
      return;
    }
    this.#parts.limits.take(this.#identify().userId, this.#socket).then(
      () => this.#refuse("unknown", new AppError("bad_request", message), ack as AckFunction),
      (error: unknown) => this.#refuse("unknown", error, ack as AckFunction),
    );
  }

  /** Where no ack can be sent, the client is told by an event, as long as it keeps within its limits. */
  #complain(event: string, message: string): void {
    this.#parts.metrics.socketCalls.inc({ namespace: this.#socket.nsp.name, event: "unknown", outcome: "bad_request" });
    this.#parts.limits.take(this.#identify().userId, this.#socket).then(
      () =>
        (this.#socket as Socket).emit("problem", {
          event: toShown(event),
          error: { code: "bad_request", message },
        }),
      () => undefined, // past its limits it is told nothing
    );
  }
}

/** What a client named an event, as it is told and logged: whatever it may be. */
function toShown(event: string): string {
  return hideStreamKeys(event).slice(0, 100);
}
