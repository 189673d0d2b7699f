import type { Caller, VerifyToken } from "../auth/caller.ts";
import { AppError } from "../errors.ts";
import { TokenAuth } from "../protocol/token.ts";
import type { CallTable, GatewaySocket } from "./call.ts";
import type { SocketGuard } from "./socket-guard.ts";

/*
 * A socket may live longer than its token. A minute before the token ends the client is told; it may send a new token of
 * the same user, and is disconnected if it does not.
 */

const WARN_BEFORE_MS = 60_000;
/** A client is not told again when its token has less than this left. */
const MIN_LEFT_MS = 1000;
/** How often all sockets are checked for tokens that end soon. A timer for each socket would cost 300 bytes a socket. */
const SWEEP_MS = 5000;

export interface TokenSessionParts {
  verifyToken: VerifyToken;
  guard: SocketGuard;
  /** Called after a new token was accepted: with it, rights may have changed. */
  onRefreshed: (socket: GatewaySocket) => Promise<void> | void;
}

/** Serves `token:refresh`. @returns the function that watches over a socket's token from now on */
export function keepTokenSessions(calls: CallTable, parts: TokenSessionParts): (socket: GatewaySocket) => void {
  calls.on("token:refresh", TokenAuth, async ({ token }, socket) => {
    const before = socket.data.caller;
    const caller = await parts.verifyToken(token);
    assertSameSubject(before, caller);
    socket.data.caller = caller;
    if (caller.expiresAt.getTime() === before.expiresAt.getTime()) tellAgainLater(socket, parts.guard);
    else {
      noteEnd(socket);
      watch(socket, parts.guard);
    }
    await parts.onRefreshed(socket);
    return { expiresAt: caller.expiresAt.toISOString() };
  });
  let sweep: NodeJS.Timeout | null = null;
  return (socket) => {
    noteEnd(socket);
    watch(socket, parts.guard);
    const sockets = socket.nsp.sockets as unknown as ReadonlyMap<string, GatewaySocket>;
    sweep ??= setInterval(() => {
      for (const each of sockets.values()) {
        if (each.data.tokenTimer === undefined) parts.guard(each, () => watch(each, parts.guard));
      }
      if (sockets.size > 0 || sweep === null) return;
      clearInterval(sweep);
      sweep = null;
    }, SWEEP_MS).unref();
  };
}

/** Called when the token has just been checked. If somebody sets the clock later, the socket ends no earlier and no later. */
function noteEnd({ data }: GatewaySocket): void {
  data.tokenEndsAt = performance.now() + data.caller.expiresAt.getTime() - Date.now();
}

function leftMsOf({ data }: GatewaySocket): number {
  return (data.tokenEndsAt ?? 0) - performance.now();
}

/** Tells the client, and arms its disconnection, if the token has at most a minute left. Else the next sweep looks again. */
function watch(socket: GatewaySocket, guard: SocketGuard): void {
  clearTimeout(socket.data.tokenTimer);
  const leftMs = leftMsOf(socket);
  if (leftMs > WARN_BEFORE_MS || !socket.connected) {
    delete socket.data.tokenTimer;
    return;
  }
  socket.emit("session:expiring", { expiresAt: socket.data.caller.expiresAt.toISOString() } as never);
  socket.data.tokenTimer = setTimeout(() => guard(socket, () => socket.disconnect(true)), Math.max(0, leftMs)).unref();
}

/**
 * For a client that sent the same token again: some libraries return a token as long as it is valid (Firebase's until 30 s
 * before its end). Told again at once, the client would send it again at once; so it is told after half of the time left.
 */
function tellAgainLater(socket: GatewaySocket, guard: SocketGuard): void {
  const leftMs = leftMsOf(socket);
  if (leftMs > WARN_BEFORE_MS || leftMs < MIN_LEFT_MS) return;
  clearTimeout(socket.data.tokenTimer);
  socket.data.tokenTimer = setTimeout(() => guard(socket, () => watch(socket, guard)), leftMs / 2).unref();
}

function assertSameSubject(before: Caller, now: Caller): void {
  if (before.userId !== now.userId) {
    throw new AppError("forbidden", "The new token belongs to another user; open a new connection with it.");
  }
}
