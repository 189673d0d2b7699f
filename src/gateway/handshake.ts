import type { ExtendedError } from "socket.io";
import type { Caller, VerifyToken } from "../auth/caller.ts";
import { AppError, toWireError, type WireError } from "../errors.ts";
import { Allowances } from "../limits/allowances.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { parseWire } from "../protocol/ack.ts";
import { Acks } from "../protocol/heartbeat.ts";
import { TokenAuth } from "../protocol/token.ts";
import { withinTime } from "../within-time.ts";
import type { GatewaySocket } from "./call.ts";
import { type Connections, type CountedConnection, endUnused } from "./connections.ts";
import { createSocketGuard } from "./socket-guard.ts";

/*
 * Decides who may connect to a namespace. This runs after the upgrade (`namespace.use`), because uWebSockets.js cannot
 * wait for a token check before it. A refusal ends in the client's `connect_error`, whose `data.code` tells the reason.
 */

/** Shorter than a connection may be without a namespace, so that a client is told why it is not let in. */
const VERIFY_WITHIN_MS = 4000;

export interface HandshakeParts {
  verifyToken: VerifyToken;
  connections: Connections;
  maxConnectionsPerUser: number;
  isDraining: () => boolean;
  logger: Logger;
}

export type Handshake = (socket: GatewaySocket, next: (error?: ExtendedError) => void) => void;

/**
 * Handshakes of one network that may be refused before it gets few token checks at once. A check costs computing, and a
 * token may be forged for nothing.
 */
const REFUSED_HANDSHAKES = { burst: 200, perSecond: 20 };
/** Others of the network have right tokens, so it is never shut out: a school, or all users of a proxy that is not trusted. */
const CHECKS_PAST_LIMIT = 4;

/** The handshake of the namespaces that take tokens. */
export function createHandshake(parts: HandshakeParts): Handshake {
  const { connections, verifyToken, maxConnectionsPerUser } = parts;
  const guard = createSocketGuard(parts.logger);
  const refused = new Allowances(REFUSED_HANDSHAKES);
  /** Token checks under way, by network. */
  const checks = new Map<string, number>();

  async function check(network: string, token: string): Promise<Caller> {
    checks.set(network, (checks.get(network) ?? 0) + 1);
    try {
      return await withinTime(verifyToken(token), VERIFY_WITHIN_MS, tooLate);
    } finally {
      const left = (checks.get(network) ?? 1) - 1;
      if (left > 0) checks.set(network, left);
      else checks.delete(network);
    }
  }

  async function identify({ handshake, conn }: GatewaySocket): Promise<Caller> {
    const network = conn.remoteAddress;
    const retryAfterMs = refused.waitMs(network);
    if (retryAfterMs > 0 && (checks.get(network) ?? 0) >= CHECKS_PAST_LIMIT) {
      throw new AppError("rate_limited", "Too many handshakes of this network were refused; try again later.", {
        retryAfterMs,
      });
    }
    try {
      const given = TokenAuth.safeParse(handshake.auth);
      if (!given.success)
        throw new AppError("unauthenticated", "The handshake carries no token; pass `auth: { token }`.");
      return await check(network, given.data.token);
    } catch (error) {
      if (error instanceof AppError && error.code === "unauthenticated") refused.take(network);
      throw error;
    }
  }

  async function admit(socket: GatewaySocket): Promise<void> {
    const caller = await identify(socket);
    connections.identify(socket.conn as never, caller.userId, maxConnectionsPerUser);
    socket.data.caller = caller;
    // By then the socket is in its namespace.
    setImmediate(() => guard(socket, () => forgetHandshake(socket)));
  }

  return asHandshake(admit, parts);
}

function tooLate(): AppError {
  return new AppError("unavailable", "The token could not be checked in time; connect again.", { retryAfterMs: 1000 });
}

/** Reads how a player wants its heartbeats to be acked. It runs before the handshake, which counts the connection. */
export function readAcks(socket: GatewaySocket, next: (error?: ExtendedError) => void): void {
  try {
    if (parseWire(Acks, (socket.handshake.auth as { acks?: unknown } | null)?.acks) === "brief")
      socket.data.wantsBriefAcks = true;
    next();
  } catch (error) {
    next(toRefusal(error));
  }
}

const FORGOTTEN = Object.freeze({ headers: {}, query: {}, auth: {} });

/** Socket.IO would keep the token and the headers as long as the socket lives: half a kilobyte that nobody reads. */
function forgetHandshake(socket: GatewaySocket): void {
  Object.assign(socket, { handshake: FORGOTTEN });
}

/** Lets a socket in where `admit` resolves. Where `admit` throws, the error becomes the client's `connect_error`. */
export function asHandshake(
  admit: (socket: GatewaySocket) => Promise<void>,
  { isDraining, logger }: Pick<HandshakeParts, "isDraining" | "logger">,
): Handshake {
  const guard = createSocketGuard(logger);
  /** One listener for all sockets: a closure for each would take memory of every idle connection. */
  function onLeft(this: GatewaySocket): void {
    endUnused(this, guard);
  }

  async function admitUnlessDraining(socket: GatewaySocket): Promise<void> {
    if (isDraining())
      throw new AppError("unavailable", "The server is stopping; connect again.", { retryAfterMs: 1000 });
    await admit(socket);
    (socket.conn as unknown as CountedConnection).hasJoined = true;
    socket.on("disconnect", onLeft);
  }

  return (socket, next) => {
    admitUnlessDraining(socket).then(
      () => next(),
      (error: unknown) => {
        const refusal = toRefusal(error);
        if (refusal.data.code === "internal")
          logger.error({ err: error, namespace: socket.nsp.name }, "a handshake failed");
        next(refusal);
      },
    );
  };
}

/** Counts refusals by the code that the client gets. */
export function countRefusals(
  handshake: Handshake,
  { connectionsRefused }: Pick<Metrics, "connectionsRefused">,
): Handshake {
  return (socket, next) =>
    handshake(socket, (error) => {
      if (error !== undefined) connectionsRefused.inc({ reason: (error.data as WireError).code });
      next(error);
    });
}

/** The error as Socket.IO sends it to the client. */
function toRefusal(error: unknown) {
  const wire = toWireError(error);
  return Object.assign(new Error(wire.message), { data: wire });
}
