import type { Logger } from "./logger.ts";

/*
 * What timers and emitters of events call runs under a guard. An exception there has no caller who could catch it: it would
 * end the process, and with it the work of everybody. Sockets have a guard of their own, which ends the one socket
 * (gateway/socket-guard.ts).
 */

/**
 * Runs `work` at once. If it fails, now or as a promise, the error is logged under `what`, and nothing else happens: the
 * next tick or event comes as before.
 */
export type Guard = (what: string, work: () => unknown) => void;

/** Makes a guard. Of failures under one name that follow each other only the first is logged as an error. */
export function createGuard(logger: Logger): Guard {
  const failing = new Set<string>();

  function onFailure(what: string, error: unknown): void {
    const level = failing.has(what) ? "debug" : "error";
    failing.add(what);
    logger[level]({ err: error, what }, "work that nobody waits for failed; it goes on at its next turn");
  }
  function onSuccess(what: string): void {
    if (failing.delete(what)) logger.info({ what }, "work that nobody waits for succeeds again");
  }

  return (what, work) => {
    try {
      const result = work();
      if (result instanceof Promise) {
        result.then(
          () => onSuccess(what),
          (error: unknown) => onFailure(what, error),
        );
      } else onSuccess(what);
    } catch (error) {
      onFailure(what, error);
    }
  };
}
