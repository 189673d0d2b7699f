import type { ExtendedError } from "socket.io";
import { z } from "zod";
import type { VerifyToken } from "../auth/caller.ts";
import { AppError, toWireError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import type { GatewaySocket } from "./call.ts";

/*
 * Who connects. Checked after the upgrade (`io.use`), since uWebSockets.js cannot wait before it; a failure ends in
 * the client's `connect_error`, whose `data.code` says why.
 */

const Auth = z.object({ token: z.string().min(1).max(8192) });

export interface HandshakeParts {
  verifyToken: VerifyToken;
  maxConnectionsPerUser: number;
  isDraining: () => boolean;
  logger: Logger;
}

export type Handshake = (socket: GatewaySocket, next: (error?: ExtendedError) => void) => void;

export function createHandshake(parts: HandshakeParts): Handshake {
  const connections = new Map<string, number>();

  async function admit(socket: GatewaySocket): Promise<void> {
    const given = Auth.safeParse(socket.handshake.auth);
    if (!given.success)
      throw new AppError("unauthenticated", "The handshake carries no token; pass `auth: { token }`.");
    const caller = await parts.verifyToken(given.data.token);
    // It may have closed while its token was checked, and would then be counted for ever.
    if (socket.conn.readyState !== "open") throw new AppError("unavailable", "The connection is closed.");
    const open = connections.get(caller.userId) ?? 0;
    if (open >= parts.maxConnectionsPerUser) {
      throw new AppError(
        "rate_limited",
        `A user may have ${parts.maxConnectionsPerUser} connections; close one first.`,
      );
    }
    socket.data.caller = caller;
    connections.set(caller.userId, open + 1);
    // By then it is in its namespace, or its connection ended on the way and its namespace never hears of it.
    setImmediate(() => {
      if (socket.connected) socket.on("disconnect", leave);
      else leave.call(socket);
      forgetHandshake(socket);
    });
  }

  /** One for all sockets: a function of its own for each is memory that an idle connection does not need. */
  function leave(this: GatewaySocket): void {
    const { userId } = this.data.caller;
    const left = (connections.get(userId) ?? 1) - 1;
    if (left > 0) connections.set(userId, left);
    else connections.delete(userId);
  }

  return asHandshake(admit, parts);
}

const FORGOTTEN = Object.freeze({ headers: {}, query: {}, auth: {} });

/** The token, and what else came with it, would be kept for the life of the socket: half a kilobyte that nobody reads. */
function forgetHandshake(socket: GatewaySocket): void {
  Object.assign(socket, { handshake: FORGOTTEN });
}

/** Lets a socket in where `admit` resolves; why it does not becomes the client's `connect_error`. */
export function asHandshake(
  admit: (socket: GatewaySocket) => Promise<void>,
  { isDraining, logger }: Pick<HandshakeParts, "isDraining" | "logger">,
): Handshake {
  async function admitUnlessDraining(socket: GatewaySocket): Promise<void> {
    if (isDraining())
      throw new AppError("unavailable", "The server is stopping; connect again.", { retryAfterMs: 1000 });
    await admit(socket);
  }

  return (socket, next) => {
    admitUnlessDraining(socket).then(
      () => next(),
      (error: unknown) => {
        const wire = toWireError(error);
        if (wire.code === "internal") logger.error({ err: error, namespace: socket.nsp.name }, "a handshake failed");
        next(Object.assign(new Error(wire.message), { data: wire }));
      },
    );
  };
}
