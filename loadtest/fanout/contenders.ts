import { openBareServer, openSocketIoWithRedis, openSoketi } from "../contenders/open.ts";
import { type LoadChild, type ServerChild, startLoad } from "../harness/child-process.ts";
import type { Contender } from "../harness/window.ts";
import { createMint, INSTRUCTOR_ID } from "../load/catalogue.ts";
import { withClient } from "../load/database.ts";
import { startPlayhead } from "../load/playhead-server.ts";
import type { ConnectDashboards } from "./dashboards.ts";
import type { Protocol } from "./receivers.ts";

/** A server that sends frames, with the process of its dashboards. */
export interface FanoutContender extends Contender {
  dashboards: LoadChild;
}

export const NAMES = {
  playhead: "Playhead",
  bare: "(d) bare publish",
  socketIo: "(b) Socket.IO, ws, Redis adapter",
  soketi: "(c) soketi",
} as const;

/** File 0 is the topic of the audiences with one topic. The others have a topic each. */
export const FILES = 1 + 1000;
/** The shortest interval that the configuration allows: conflation would hide the cost of a frame. */
export const FRAME_INTERVAL_MS = 20;

/** The first contender is Playhead. With a profile it is the only one. */
export async function openContenders(
  profile: string | null,
): Promise<{ contenders: FanoutContender[]; skipped: string[] }> {
  const contenders = [await openPlayhead(profile)];
  const skipped: string[] = [];
  if (profile !== null) return { contenders, skipped };
  contenders.push(await openOther(NAMES.bare, "socket.io", await openBareServer()));
  // Dashboards show it no token.
  const socketIo = await openSocketIoWithRedis({ secret: "not used: these dashboards show no token" });
  if (socketIo !== null) contenders.push(await openOther(NAMES.socketIo, "socket.io", socketIo));
  else skipped.push("Socket.IO with its Redis adapter is left out: there is no `redis-server` here.");
  const soketi = await openSoketi();
  if (typeof soketi !== "string") contenders.push(await openOther(NAMES.soketi, "pusher", soketi));
  else skipped.push(`soketi is left out: ${soketi}.`);
  return { contenders, skipped };
}

async function openPlayhead(profile: string | null): Promise<FanoutContender> {
  const server = await startPlayhead({ profile, env: { FRAME_INTERVAL_MS: String(FRAME_INTERVAL_MS) } });
  const { url, read, secret, databaseUrl } = server;
  await server.putCourses({ courses: 1, files: FILES });
  await withClient(databaseUrl, (client) => client.query(ONE_LEARNER_A_FILE));
  const token = await createMint(secret)(INSTRUCTOR_ID, "instructor");
  return await openDashboards(NAMES.playhead, read, { protocol: "socket.io", url, token, databaseUrl });
}

const ONE_LEARNER_A_FILE = `
INSERT INTO users (id) SELECT 'learner-of-' || id FROM files;
INSERT INTO user_progress (user_id, file_id, lesson_id, course_id) SELECT 'learner-of-' || id, id, lesson_id, course_id FROM files;
ANALYZE`;

function openOther(name: string, protocol: Protocol, { url, read }: ServerChild): Promise<FanoutContender> {
  return openDashboards(name, read, { protocol, url });
}

async function openDashboards(
  name: string,
  read: Contender["read"],
  argument: ConnectDashboards,
): Promise<FanoutContender> {
  const dashboards = await startLoad(new URL("./dashboards.ts", import.meta.url), argument);
  return { name, read, load: dashboards.load, dashboards };
}
