import type { Aim } from "../harness/section.ts";
import { formatNumber } from "../render/format.ts";
import type { Cost, Scenario } from "./cost.ts";
import type { Costs, GrowthResult, SiteResult } from "./growth-section.ts";

const MOST_TIMES = 1.5;

export function toAims({ results }: GrowthResult, costs: Costs, names: Record<Scenario, string>): Aim[] {
  return [
    costAim(names.active, costs.active),
    costAim(names.buffered, costs.buffered),
    costAim(names.uniform, costs.uniform, costs.bare[0]),
    scanAim(results),
  ];
}

function costAim(name: string, costs: Cost[], bare?: Cost): Aim {
  const [smallest, largest] = [costs[0], costs.at(-1)];
  const what = `cost of a heartbeat in ${formatNumber(largest?.rows ?? 0)} rows, ${name}`;
  const aim = `≤ ${MOST_TIMES} × that in ${formatNumber(smallest?.rows ?? 0)}`;
  if (smallest === undefined || largest === undefined || costs.length < 2) {
    return { what, aim, seen: "one size only", isMet: false, because: "there is nothing to compare with" };
  }
  const cpu = largest.cpuUs / smallest.cpuUs;
  const time = largest.wallUs / smallest.wallUs;
  const isMet = cpu <= MOST_TIMES && time <= MOST_TIMES;
  const seen = `${formatNumber(cpu)} × in CPU, ${formatNumber(time)} × in time`;
  if (isMet) return { what, aim, seen, isMet };
  const because =
    cpu > MOST_TIMES
      ? explainMiss(smallest, largest, bare)
      : "its CPU is within the aim; the time is what the disk and other processes make of it, see how many cores those took";
  return { what, aim, seen, isMet, because };
}

function explainMiss(smallest: Cost, largest: Cost, bare?: Cost): string {
  const log =
    `pages touched for the first time since a checkpoint, which go whole into the log ` +
    `(${formatNumber(largest.fullPages)} a heartbeat, ${formatNumber(smallest.fullPages)} in the smallest)`;
  const pages =
    `fetching pages that are not in shared_buffers, and writing out those they push aside ` +
    `(${formatNumber(largest.blocksRead)} a heartbeat, ${formatNumber(smallest.blocksRead)} in the smallest)`;
  const more = `${formatNumber(largest.cpuUs - smallest.cpuUs)} µs of CPU more`;
  if (bare === undefined) return `${more}, by ${pages}, and by ${log}`;
  return `${more}: ${formatNumber(largest.cpuUs - bare.cpuUs)} µs by ${log}; the rest by ${pages}`;
}

function scanAim(results: SiteResult[]): Aim {
  const scanned = results.filter((result) => result.isScanned).map(({ rows }) => formatNumber(rows));
  const scans = results
    .flatMap(({ windows }) => Object.values(windows).flat())
    .reduce((sum, window) => sum + window.counters.sequentialScans, 0);
  return {
    what: "sequential scans of a table that grows, in plans and in the triggers' statements",
    aim: "none at any size",
    seen: scanned.length > 0 ? `in the plan at ${scanned.join(", ")}` : scans > 0 ? `${scans} scans` : "none",
    isMet: scanned.length === 0 && scans === 0,
  };
}
