import { closeSync, openSync, readFileSync } from "node:fs";

/*
 * How many file descriptors this process has left. Linux gives the lowest free number to what is opened next: all below
 * it are taken.
 */

/** The most descriptors that this process may have open; null where the system does not tell. */
export function readDescriptorLimit(): number | null {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return limit === undefined ? null : Number(limit);
  } catch {
    return null; // no Linux
  }
}

/** Whether the next descriptor is below `limit`. */
export function isNextBelow(limit: number): boolean {
  try {
    const next = openSync("/dev/null", "r");
    closeSync(next);
    return next < limit;
  } catch {
    return false; // none is left
  }
}
