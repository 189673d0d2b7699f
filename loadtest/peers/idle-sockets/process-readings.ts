import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";

/** What a peer says of its own process. */
export interface ProcessReadings {
  residentBytes: number;
  heapBytes: number;
  cpuSeconds: number;
}

export function readProcess(): ProcessReadings {
  const { rss, heapUsed } = process.memoryUsage();
  const { user, system } = process.cpuUsage();
  return { residentBytes: rss, heapBytes: heapUsed, cpuSeconds: (user + system) / 1e6 };
}

setFlagsFromString("--expose-gc");
const gc = runInNewContext("gc") as () => void;

export function collectGarbage(): void {
  gc();
}
