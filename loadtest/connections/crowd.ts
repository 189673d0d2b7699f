import { summarize } from "../harness/latency.ts";
import { startWorker, type Worker } from "../harness/worker.ts";
import type { ConnectedIdle, ConnectIdle, Depth } from "./idle-clients.ts";

/** Idle connections over several processes, each from an address of its own. */
export interface Crowd {
  connect(plan: { url: string; depth: Depth; secret: string; firstUser: number; count: number }): Promise<Connected>;
  /** @throws Error where some were lost */
  assertOpen(count: number): Promise<void>;
  cpuSeconds(): Promise<number>;
  close(): Promise<void>;
  stop(): Promise<void>;
}

export interface Connected {
  perSecond: number;
  p50Ms: number;
  p99Ms: number;
  latencies: string[];
}

const PROCESSES = 2;
/** Together; more wait in the server's queue, and their wait is counted. */
const AT_ONCE = 100;

export function startCrowd(): Crowd {
  const workers: Worker[] = Array.from({ length: PROCESSES }, () =>
    startWorker(new URL("./idle-clients.ts", import.meta.url)),
  );
  return {
    async connect({ count, firstUser, ...plan }) {
      const share = Math.ceil(count / PROCESSES);
      const results = await Promise.all(
        workers.map((worker, i) =>
          worker.call<ConnectedIdle>("connect", {
            ...plan,
            firstUser: firstUser + i * share,
            count: Math.max(0, Math.min(share, count - i * share)),
            localAddress: `127.0.0.${i + 2}`,
            atOnce: AT_ONCE / PROCESSES,
          } satisfies ConnectIdle),
        ),
      );
      for (const { failed } of results) {
        const [failure] = Object.entries(failed);
        if (failure !== undefined) throw new Error(`${failure[1]} connections failed: ${failure[0]}`);
      }
      const seconds = Math.max(...results.map((result) => result.seconds));
      const { p50Ms, p99Ms } = summarize(results.map(({ latencies }) => latencies));
      return { perSecond: count / seconds, p50Ms, p99Ms, latencies: results.map(({ latencies }) => latencies) };
    },
    async assertOpen(count) {
      const counts = await Promise.all(workers.map((worker) => worker.call<{ open: number; lost: number }>("count")));
      const open = counts.reduce((sum, each) => sum + each.open, 0);
      if (open !== count) throw new Error(`${open} connections are open, not ${count}: the server closed the others`);
    },
    async cpuSeconds() {
      const seconds = await Promise.all(workers.map((worker) => worker.call<number>("cpuSeconds")));
      return seconds.reduce((sum, each) => sum + each, 0);
    },
    close: async () => void (await Promise.all(workers.map((worker) => worker.call("close")))),
    stop: async () => void (await Promise.all(workers.map((worker) => worker.stop()))),
  };
}
