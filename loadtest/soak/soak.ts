import { randomBytes } from "node:crypto";
import { setTimeout as pause } from "node:timers/promises";
import { startChild, startLoad } from "../harness/child-process.ts";
import { readWholeNumber } from "../harness/flags.ts";
import type { Findings, Run, Subcommand } from "../harness/section.ts";
import { measureOnce } from "../harness/window.ts";
import { readAftermath } from "../load/database.ts";
import type { ConnectPlayers } from "../load/players.ts";
import { startPlayhead } from "../load/playhead-server.ts";
import type { MixedCounts, MixedLoad } from "./mixed-clients.ts";
import { readSettings, readTables, type Sample } from "./samples.ts";
import { toSection } from "./section.ts";

const SHAPE = { courses: 20, files: 20 };
const LIMIT_MINUTES = 60;

export const soak: Subcommand = {
  name: "soak",
  summary: "ten minutes of mixed load: whether memory, tables and latencies grow",
  flags: {
    "--minutes N": "how long (default 10)",
    "--rate N": "heartbeats a second (default: half of the top rate of a short saturation)",
    "--players N": "steady players (default 3000)",
  },
  limitSeconds: (LIMIT_MINUTES + 5) * 60,
  run: measureSoak,
};

async function measureSoak({ isQuick, flags, tell }: Run): Promise<Findings> {
  const minutes = readWholeNumber(flags, "minutes", { usual: isQuick ? 1 : 10, most: LIMIT_MINUTES });
  const players = readWholeNumber(flags, "players", { usual: isQuick ? 1000 : 3000, most: 15_000 });
  const rate = readWholeNumber(flags, "rate", { usual: 0, least: 0, most: 100_000 });
  tell("building and starting the server", 0);
  const rtmpSecret = randomBytes(16).toString("hex");
  const server = await startPlayhead({ env: { RTMP_SECRETS: rtmpSecret } });
  await server.putCourses(SHAPE);
  const { url, secret } = server;
  const steady: ConnectPlayers = { url, secret, count: players, shape: SHAPE, acks: "brief" };
  const { load } = await startLoad(new URL("../load/players.ts", import.meta.url), steady);
  const contender = { name: "Playhead", read: server.read, load };
  tell("a short saturation, for the rate", 0.02);
  const top = await measureOnce(contender, { warmupSeconds: 4, seconds: 6 });
  // Half of the top rate leaves CPU for the mixed load.
  const ratePerSecond = rate || Math.max(100, Math.round(top.perSecond / 200) * 100);

  const mixed = startChild(new URL("./mixed-clients.ts", import.meta.url));
  await mixed.call("start", { url, secret, rtmpSecret, shape: SHAPE, players } satisfies MixedLoad);
  const plan = { warmupSeconds: 0, seconds: isQuick ? 5 : 10, ratePerSecond };
  const samples: Sample[] = [];
  const startedAt = performance.now();
  let minute = 0;
  while (minute < minutes) {
    tell(`${ratePerSecond} heartbeats a second`, 0.05 + (0.9 * minute) / minutes);
    const summary = await measureOnce(contender, plan);
    const memory = await server.readMemory();
    minute = (performance.now() - startedAt) / 60_000;
    samples.push({ minute, ...memory, tables: await readTables(server), load: summary });
  }
  const counts = await mixed.call<MixedCounts>("stop");
  // Requests of the mixed load come to their end.
  await pause(1000);
  const [settings, aftermath] = [await readSettings(server), await readAftermath(server, SHAPE.courses)];
  return toSection({ isQuick, minutes: minute, players, ratePerSecond, samples, counts, settings, aftermath });
}
