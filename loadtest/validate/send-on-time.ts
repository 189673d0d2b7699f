import { setTimeout as pause } from "node:timers/promises";

/** Calls that are due at even intervals. */
export interface Flow {
  perSecond: number;
  send: (dueAt: number) => void;
}

/**
 * Sends whatever the answers do: a call that could not be sent in time counts from when it was due.
 * @returns the latest that one was sent after its time, in ms
 */
export async function sendOnTime(flows: readonly Flow[], until: number): Promise<number> {
  const startAt = performance.now();
  const sent = flows.map(() => 0);
  let lateMs = 0;
  for (let now = startAt; now < until; now = performance.now()) {
    for (const [i, { perSecond, send }] of flows.entries()) {
      const intervalMs = 1000 / perSecond;
      for (;;) {
        const dueAt = startAt + (sent[i] as number) * intervalMs;
        if (dueAt > now || dueAt >= until) break;
        lateMs = Math.max(lateMs, now - dueAt);
        send(dueAt);
        sent[i] = (sent[i] as number) + 1;
      }
    }
    await pause(1);
  }
  return lateMs;
}
