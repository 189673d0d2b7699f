import type { LatencySummary } from "../harness/latency.ts";
import type { Plot } from "../harness/section.ts";
import type { Figures } from "./figures.ts";
import type { Ladder } from "./offered.ts";

const LINES: { label: string; pick: (latency: LatencySummary) => number }[] = [
  { label: "p50", pick: (latency) => latency.p50Ms },
  { label: "p90", pick: (latency) => latency.p90Ms },
  { label: "p99", pick: (latency) => latency.p99Ms },
  { label: "p99.9", pick: (latency) => latency.p999Ms },
  { label: "max", pick: (latency) => latency.maxMs },
];

export function toPlots({ ladders }: Figures): Plot[] {
  if (ladders.length === 0) return [];
  return [...ladders.map(toLatencyPlot), toAchievedPlot(ladders)];
}

function toLatencyPlot({ workers, steps }: Ladder): Plot {
  const measured = steps.filter(({ latency }) => latency.count > 0);
  return {
    name: `ingest-latency-${workers}`,
    title: `Ack latency against offered load, WORKERS=${workers}`,
    x: { label: "heartbeats offered a second" },
    y: { label: "from due to ack, ms", isLog: true },
    series: LINES.map(({ label, pick }) => ({
      label,
      points: measured.map(({ offeredPerSecond, latency }) => [offeredPerSecond, pick(latency)]),
    })),
  };
}

function toAchievedPlot(ladders: Ladder[]): Plot {
  const most = Math.max(...ladders.flatMap(({ steps }) => steps.map(({ offeredPerSecond }) => offeredPerSecond)));
  return {
    name: "ingest-achieved",
    title: "Acked against offered",
    x: { label: "heartbeats offered a second" },
    y: { label: "acked a second" },
    series: [
      {
        label: "as offered",
        points: [
          [0, 0],
          [most, most],
        ],
      },
      ...ladders.map(({ workers, steps }) => ({
        label: `WORKERS=${workers}`,
        points: steps.map(({ offeredPerSecond, achievedPerSecond }): [number, number] => [
          offeredPerSecond,
          achievedPerSecond,
        ]),
      })),
    ],
  };
}
