/*
 * Bounded waiting. The work itself goes on when the time is up, and only the waiting ends, except where it is cut off.
 */

/**
 * Waits for the work, at most `timeoutMs`.
 * @throws the error that `late` makes, when the time is up
 */
export async function withinTime<T>(work: Promise<T>, timeoutMs: number, late: () => Error): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), timeoutMs);
  });
  try {
    return await Promise.race([work, timeUp]);
  } finally {
    clearTimeout(timer);
  }
}

/** Waits until the work has ended, at most `timeoutMs`, and tells whether it has. @throws the work's own error */
export async function endsWithin(work: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const timeUp = new Promise<false>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, false);
  });
  try {
    return await Promise.race([work.then(() => true), timeUp]);
  } finally {
    clearTimeout(timer);
  }
}

/**
 * Does work that a signal can end, and ends it when the time is up (`TimeoutError`) or when `signal` does. Not by
 * `AbortSignal.any` and `AbortSignal.timeout`: Node 20 collects such signals as garbage, and the work hangs for ever
 * (https://github.com/nodejs/node/issues/57736).
 */
export async function cutOff<T>(
  signal: AbortSignal,
  timeoutMs: number,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const controller = new AbortController();
  const end = () => controller.abort(signal.reason);
  const timer = setTimeout(() => {
    controller.abort(new DOMException(`not done within ${timeoutMs} ms`, "TimeoutError"));
  }, timeoutMs);
  signal.addEventListener("abort", end, { once: true });
  if (signal.aborted) end();
  try {
    return await work(controller.signal);
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", end);
  }
}
