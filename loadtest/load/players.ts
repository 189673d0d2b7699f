import { serveCommands } from "../harness/child-process.ts";
import { doAtOnce, type LoadPlan, type LoadResult, OK, runLoad } from "../harness/load.ts";
import { createMint, type Shape, toFileId, toUserId, watchedBy } from "./catalogue.ts";
import { type Acks, openPlayer, type Player } from "./player.ts";
import { outcomeOf } from "./socketio-client.ts";

/*
 * A process of many players. Each player is another user and watches one file.
 */

export interface ConnectPlayers {
  url: string;
  secret: string;
  count: number;
  shape: Shape;
  acks: Acks;
}

/** Short: the budget of four times real time has room for 40 such beats a second. */
const BEAT_MS = 100;

const players: Player[] = [];
let closed = 0;

async function connect({ url, secret, count, shape, acks }: ConnectPlayers): Promise<void> {
  const mint = createMint(secret);
  const onClose = () => (closed += 1);
  await doAtOnce(count, async (user) => {
    const { course, file } = watchedBy(user, shape);
    const given = { url, token: await mint(toUserId(user)), acks, fileId: toFileId(course, file), beatMs: BEAT_MS };
    players.push(await openPlayer({ ...given, onClose }));
  });
}

async function load(plan: LoadPlan): Promise<LoadResult> {
  const closedBefore = closed;
  const result = await runLoad(plan, players.length, (i, answered) => (players[i] as Player).beat(answered));
  if (closed > closedBefore) result.outcomes["socket closed"] = closed - closedBefore;
  return result;
}

/** The shortest ack. The first ack of each player is whole, so a brief one is of a later heartbeat. */
function sampleAck(): string {
  const acks = players.map(({ lastAck }) => lastAck).filter((ack) => outcomeOf(ack) === OK);
  return acks.reduce((shortest, ack) => (ack.length < shortest.length ? ack : shortest));
}

serveCommands({ connect, load, sampleAck });
