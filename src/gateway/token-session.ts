import { z } from "zod";
import type { Caller, VerifyToken } from "../auth/caller.ts";
import { AppError } from "../errors.ts";
import type { CallTable, GatewaySocket } from "./call.ts";

/*
 * A token ends while its socket lives: the client is told a minute before, may bring a new one of the same subject,
 * and is disconnected when it does not.
 */

const WARN_BEFORE_MS = 60_000;
/** With less than this left nobody is told again. */
const MIN_LEFT_MS = 1000;
/** How often it is looked who has but a minute left: a timer for every socket would cost each of them 300 bytes. */
const SWEEP_MS = 5000;

export const TokenRefresh = z.object({ token: z.string().min(1).max(8192) });

export interface TokenSessionParts {
  verifyToken: VerifyToken;
  /** Rights may have changed with the token. */
  onRefreshed: (socket: GatewaySocket) => Promise<void> | void;
}

/** Takes `token:refresh`, and gives the way to watch the end of a socket's token. */
export function keepTokenSessions(calls: CallTable, parts: TokenSessionParts): (socket: GatewaySocket) => void {
  calls.on("token:refresh", TokenRefresh, async ({ token }, socket) => {
    const before = socket.data.caller;
    const caller = await parts.verifyToken(token);
    assertSameSubject(before, caller);
    socket.data.caller = caller;
    if (caller.expiresAt.getTime() === before.expiresAt.getTime()) tellAgainLater(socket);
    else watch(socket);
    await parts.onRefreshed(socket);
    return { expiresAt: caller.expiresAt.toISOString() };
  });
  let sweep: NodeJS.Timeout | null = null;
  return (socket) => {
    watch(socket);
    const sockets = socket.nsp.sockets as unknown as ReadonlyMap<string, GatewaySocket>;
    sweep ??= setInterval(() => {
      for (const each of sockets.values()) if (each.data.tokenTimer === undefined) watch(each);
      if (sockets.size > 0 || sweep === null) return;
      clearInterval(sweep);
      sweep = null;
    }, SWEEP_MS).unref();
  };
}

function leftMsOf(socket: GatewaySocket): number {
  return socket.data.caller.expiresAt.getTime() - Date.now();
}

/** Does what is due. With more than a minute left that is nothing: the sweep looks again. */
function watch(socket: GatewaySocket): void {
  clearTimeout(socket.data.tokenTimer);
  const leftMs = leftMsOf(socket);
  if (leftMs > WARN_BEFORE_MS || !socket.connected) {
    delete socket.data.tokenTimer;
    return;
  }
  socket.emit("session:expiring", { expiresAt: socket.data.caller.expiresAt.toISOString() } as never);
  socket.data.tokenTimer = setTimeout(() => socket.disconnect(true), Math.max(0, leftMs)).unref();
}

/**
 * The same token came again: some libraries give theirs away for as long as it is good (Firebase's until 30 s before
 * its end). Who is told again at once brings it again at once, so half of the time that is left has to pass.
 */
function tellAgainLater(socket: GatewaySocket): void {
  const leftMs = leftMsOf(socket);
  if (leftMs > WARN_BEFORE_MS || leftMs < MIN_LEFT_MS) return;
  clearTimeout(socket.data.tokenTimer);
  socket.data.tokenTimer = setTimeout(watch, leftMs / 2, socket).unref();
}

function assertSameSubject(before: Caller, now: Caller): void {
  if (before.userId !== now.userId) {
    throw new AppError("forbidden", "The new token is another user's; connect anew with it.");
  }
}
