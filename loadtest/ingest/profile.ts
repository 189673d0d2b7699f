import type { Section } from "../harness/section.ts";
import { startPlayhead } from "../load/playhead-server.ts";
import { measureInTurn } from "./contender.ts";
import { openPlayers, playheadContender } from "./contenders.ts";
import { putCourses } from "./database.ts";
import type { IngestOptions } from "./options.ts";

/** Load and nothing else, so that the profile shows nothing else. */
export async function runProfile(
  options: IngestOptions,
  tell: (what: string, share: number) => void,
): Promise<Section> {
  const { nodeFlags, writers, profile, connections } = options;
  tell("building and starting the server", 0);
  const server = await startPlayhead({ nodeFlags, profile, ...(writers === undefined ? {} : { writers }) });
  await putCourses(server, options.shape);
  const players = await openPlayers(server, options);
  const [standing] = await measureInTurn([playheadContender(server, players)], {
    rounds: 1,
    windowOf: () => ({ warmupSeconds: 4, seconds: options.seconds }),
    tell,
  });
  // Writes the profile.
  await server.stop();
  const micros = standing?.cpuMicros;
  return {
    command: "ingest",
    title: "Under the profiler",
    about: `${connections} players, one heartbeat in flight each; the server is slower than without the profiler.`,
    takenAt: new Date().toISOString(),
    foreignCores: null,
    isPartial: true,
    tables: [
      {
        title: "Closed loop",
        columns: ["heartbeats/s", "server µs", "PostgreSQL µs"],
        rows: [[standing?.perSecond ?? null, micros?.server ?? null, micros?.PostgreSQL ?? null]],
      },
    ],
    plots: [],
    aims: [],
    notes: [`The profile is in ${profile}.`],
  };
}
