import { setTimeout as pause } from "node:timers/promises";
import { closePlayers, connectPlayers, startPlayers } from "./player-processes.ts";
import type { PlayheadServer } from "./playhead-server.ts";

const WARMUP_CONNECTIONS = 500;
const SETTLE_MS = 1500;
const SAMPLES = 5;
/** Users that no other phase has. */
const FIRST_USER = 1_000_000;

/** Resident memory of a connection that is open and says nothing: by how much the process grew, garbage collected. */
export async function measureIdleMemory(
  server: PlayheadServer,
  connections: number,
): Promise<{ kbPerConnection: number }> {
  // What is made once, at the first connections, counts for none of them. They stay: memory that they gave back would
  // be taken again without a trace.
  const warm = startPlayers(1);
  const shape = { courses: 1, files: 1 };
  await connectPlayers(warm, { server, firstUser: FIRST_USER * 2, count: WARMUP_CONNECTIONS, shape });
  const before = await residentBytes(server);
  const idle = startPlayers(2);
  await connectPlayers(idle, { server, firstUser: FIRST_USER, count: connections, shape });
  const after = await residentBytes(server);
  const open = (await server.readMetrics()).get('playhead_sockets{namespace="/player"}');
  const expected = WARMUP_CONNECTIONS + connections;
  if (open !== expected) throw new Error(`${open} sockets are open, not ${expected}`);
  await closePlayers([...warm, ...idle]);
  return { kbPerConnection: (after - before) / connections / 1024 };
}

/** The median of several readings, each after a collection. */
async function residentBytes(server: PlayheadServer): Promise<number> {
  const readings: number[] = [];
  for (let i = 0; i < SAMPLES; i++) {
    server.collectGarbage();
    await pause(SETTLE_MS);
    readings.push((await server.readMetrics()).get("playhead_process_resident_memory_bytes") ?? Number.NaN);
  }
  return readings.sort((a, b) => a - b)[Math.floor(SAMPLES / 2)] as number;
}
