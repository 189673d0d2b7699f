import { summarize } from "../harness/latency.ts";
import type { Contender } from "./contenders.ts";
import type { Crowd } from "./crowd.ts";
import type { Depth } from "./idle-clients.ts";

/** How fast a server lets connections in. */
export interface Accepted {
  name: string;
  /** The median of the rounds. */
  perSecond: number;
  /** Of the server, the median of the rounds. */
  cpuMicros: number;
  /** Of all rounds. */
  p50Ms: number;
  p99Ms: number;
}

export interface Door {
  name: string;
  contender: Contender;
  depth: Depth;
}

/** All doors in turn, round by round; a first round, in which the servers compile, is not counted. */
export async function measureAccepting(
  doors: Door[],
  { crowd, secret }: { crowd: Crowd; secret: string },
  { rounds, count, onRound }: { rounds: number; count: number; onRound: (name: string, done: number) => void },
): Promise<Accepted[]> {
  const seen = new Map<Door, { perSecond: number; cpuMicros: number; latencies: string[] }[]>();
  for (let round = 0; round <= rounds; round++) {
    for (const [i, door] of doors.entries()) {
      onRound(door.name, (round * doors.length + i) / ((rounds + 1) * doors.length));
      const { contender, depth } = door;
      const before = await contender.readCpu();
      const { perSecond, latencies } = await crowd.connect({
        url: contender.url,
        depth,
        secret,
        firstUser: round * count,
        count,
      });
      const cpuMicros = (((await contender.readCpu()) - before) * 1e6) / count;
      await crowd.close();
      if (round > 0) seen.set(door, [...(seen.get(door) ?? []), { perSecond, cpuMicros, latencies }]);
    }
  }
  return doors.map((door) => {
    const windows = seen.get(door) ?? [];
    const { p50Ms, p99Ms } = summarize(windows.flatMap(({ latencies }) => latencies));
    return {
      name: door.name,
      perSecond: median(windows.map(({ perSecond }) => perSecond)),
      cpuMicros: median(windows.map(({ cpuMicros }) => cpuMicros)),
      p50Ms,
      p99Ms,
    };
  });
}

function median(values: number[]): number {
  return values.sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN;
}
