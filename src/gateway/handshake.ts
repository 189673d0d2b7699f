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
    // A socket may leave its namespace while the connection goes on; one whose connection ends between here and its
    // namespace never hears of it.
    let counted = true;
    const leave = () => {
      if (!counted) return;
      counted = false;
      socket.conn.off("close", leave);
      const left = (connections.get(caller.userId) ?? 1) - 1;
      if (left > 0) connections.set(caller.userId, left);
      else connections.delete(caller.userId);
    };
    socket.once("disconnect", leave);
    socket.conn.once("close", leave);
  }

  return asHandshake(admit, parts);
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
