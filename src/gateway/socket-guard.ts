import type { Logger } from "../logger.ts";

/*
 * What Socket.IO and timers call runs under this guard. An exception there would end the process, and every socket with it.
 */

/** The part of a socket that the guard uses. */
export interface GuardedSocket {
  disconnect(close: boolean): unknown;
}

/** Runs `work` at once. If it fails, now or as a promise, the error is logged, and that one socket ends. */
export type SocketGuard = (socket: GuardedSocket, work: () => unknown) => void;

/** Makes the guard of the sockets of one process. */
export function createSocketGuard(logger: Logger): SocketGuard {
  function end(socket: GuardedSocket, error: unknown): void {
    logger.error({ err: error }, "a listener of a socket failed; the socket is ended");
    try {
      socket.disconnect(true);
    } catch (cause) {
      logger.error({ err: cause }, "a socket whose listener failed could not be ended");
    }
  }

  return (socket, work) => {
    try {
      const result = work();
      if (result instanceof Promise) result.catch((error: unknown) => end(socket, error));
    } catch (error) {
      end(socket, error);
    }
  };
}
