import { type BareRow, openBareBatches } from "../contenders/bare-batches.ts";
import { openBareServer, openPosts, openSocketIoWithRedis } from "../contenders/open.ts";
import { type LoadChild, startLoad } from "../harness/child-process.ts";
import { onEnd } from "../harness/cleanup.ts";
import { runBatches } from "../harness/load.ts";
import { readMachine } from "../harness/process-cpu.ts";
import type { Contender } from "../harness/window.ts";
import { catalogueFiles, toCourseId, toFileId, toLessonId, toUserId, watchedBy } from "../load/catalogue.ts";
import { createDatabase, dropDatabase } from "../load/database.ts";
import type { ConnectPlayers } from "../load/players.ts";
import type { PlayheadServer } from "../load/playhead-server.ts";
import type { IngestOptions } from "./options.ts";

/*
 * Opens the contenders of `ingest`. All of them use the PostgreSQL of Playhead's server, one after another.
 */

export const NAMES = {
  playhead: "Playhead",
  recount: "(a) POST, upsert, recount",
  upsert: "(b) Socket.IO, upsert",
  upsertSilent: "(b) without the emit",
  floor: "(d) floor",
  bare: "(d) bare batch",
  copy: "(d) COPY",
  playheadSockets: "Playhead, no database",
  bareSockets: "(d) bare uWebSockets.js",
} as const;

/** Enough connections to keep two cores busy while commits wait for the disk. */
const POOL_SIZE = 24;
const POST_CLIENTS = 96;
const BATCH = 1000;
/** As in players.ts. */
const BEAT_MS = 100;

export function openPlayers(
  { url, secret }: Pick<PlayheadServer, "url" | "secret">,
  { players: count, shape, acks }: IngestOptions,
): Promise<LoadChild> {
  const argument: ConnectPlayers = { url, secret, count, shape, acks };
  return startLoad(new URL("../load/players.ts", import.meta.url), argument);
}

/** Opens all contenders but Playhead, on a database of their own. `ack` is the JSON of an ack of Playhead. */
export async function openContenders(
  { secret, dataDir, databaseUrl: ownUrl }: PlayheadServer,
  options: IngestOptions,
  ack: string,
): Promise<Contender[]> {
  const { players: users, shape } = options;
  const url = await createDatabase(ownUrl, "contenders");
  // Otherwise autovacuum would work on their tables during later windows.
  onEnd(() => dropDatabase(ownUrl, "contenders"));
  const database = { url, poolSize: POOL_SIZE, files: catalogueFiles(shape) };
  const recount = await openPosts(
    { databaseUrl: url, poolSize: POOL_SIZE, recount: { secret, files: database.files } },
    { connections: Math.min(POST_CLIENTS, users), heartbeats: { secret, users, shape } },
    dataDir,
  );
  const contenders: Contender[] = [{ name: NAMES.recount, ...recount }];
  const upsert = await openSocketIoWithRedis({ secret, database }, dataDir);
  if (upsert !== null) {
    const { load } = await openPlayers({ url: upsert.url, secret }, options);
    const toContender = (name: string, isEmitting: boolean): Contender => {
      return { name, prepare: () => upsert.call("setEmitting", isEmitting), read: upsert.read, load };
    };
    contenders.push(toContender(NAMES.upsert, true), toContender(NAMES.upsertSilent, false));
  }
  const floor = await openBareServer({ ack, database }, dataDir);
  const { load } = await openPlayers({ url: floor.url, secret }, options);
  contenders.push({ name: NAMES.floor, read: floor.read, load });
  for (const [name, kind] of [
    [NAMES.bare, "own"],
    [NAMES.copy, "copy"],
  ] as const) {
    const { empty, write } = await openBareBatches(url, kind);
    const next = makeBatches(options);
    const read = () => readMachine(dataDir);
    contenders.push({ name, prepare: empty, read, load: (plan) => runBatches(plan, next, write) });
  }
  return contenders;
}

/** Makes batches of the players' heartbeats: each user watches its file from the start. */
function makeBatches({ players: users, shape }: IngestOptions): () => BareRow[] {
  let turn = 0;
  const nextRow = (): BareRow => {
    const user = turn % users;
    const fromMs = Math.floor(turn++ / users) * BEAT_MS;
    const { course, file } = watchedBy(user, shape);
    return {
      userId: toUserId(user),
      fileId: toFileId(course, file),
      lessonId: toLessonId(course, file),
      courseId: toCourseId(course),
      positionMs: fromMs + BEAT_MS,
      played: [[fromMs, fromMs + BEAT_MS]],
    };
  };
  // In the order of Playhead's batches.
  return () => Array.from({ length: Math.min(BATCH, users) }, nextRow).sort((a, b) => (a.userId < b.userId ? -1 : 1));
}
