import { serveCommands } from "../harness/child-process.ts";
import { type Answered, type LoadPlan, type LoadResult, OK, runLoad } from "../harness/load.ts";
import { createMint, INSTRUCTOR_ID, toCourseId, toFileId } from "./catalogue.ts";
import { type Acks, openPlayer, type Player } from "./player.ts";
import { openSocketIo } from "./socketio-client.ts";

/*
 * Measures the way from a heartbeat to a dashboard. An instructor's dashboard and a few learners of its course run in one
 * process, so they share one clock. A beat is done when the dashboard shows its position or a later one.
 */

export interface ConnectProbe {
  url: string;
  secret: string;
  acks: Acks;
  /** The number of the course. Players of the load watch it too. */
  course: number;
  learners: number;
}

interface Learner {
  player: Player;
  /** Beats that the dashboard has not shown yet. */
  waiting: { position: number; answered: Answered }[];
}

/** A beat plays so much, and a learner sends one beat in this time. */
const BEAT_MS = 500;
const ROUNDING_SECONDS = 0.001;

const learners = new Map<string, Learner>();

async function connect({ url, secret, acks, course, learners: count }: ConnectProbe): Promise<void> {
  const mint = createMint(secret);
  for (let i = 0; i < count; i++) {
    const userId = `loadtest-probe-${i}`;
    const given = { url, token: await mint(userId), acks, fileId: toFileId(course, 0), beatMs: BEAT_MS };
    learners.set(userId, { player: await openPlayer(given), waiting: [] });
  }
  const token = await mint(INSTRUCTOR_ID, "instructor");
  const dashboard = await openSocketIo({ url, namespace: "/dashboard", auth: { token }, onEvent: onFrame });
  await dashboard.ask("subscribe", { topic: `course:${toCourseId(course)}` });
}

function onFrame(json: string): void {
  const [event, update] = JSON.parse(json) as [string, { progress?: { userId: string; position: number }[] }];
  if (event !== "update") return;
  for (const { userId, position } of update.progress ?? []) {
    const waiting = learners.get(userId)?.waiting ?? [];
    while (waiting[0] !== undefined && waiting[0].position <= position + ROUNDING_SECONDS)
      waiting.shift()?.answered(OK);
  }
}

function load(plan: Pick<LoadPlan, "warmupSeconds" | "seconds">): Promise<LoadResult> {
  const all = [...learners.values()];
  const ratePerSecond = (all.length * 1000) / BEAT_MS;
  return runLoad({ ...plan, ratePerSecond }, all.length, (i, answered) => {
    const { player, waiting } = all[i] as Learner;
    const position = player.beat((outcome) => {
      if (outcome === OK) return;
      waiting.splice(waiting.indexOf(beat), 1);
      answered(outcome);
    });
    const beat = { position, answered };
    waiting.push(beat);
  });
}

serveCommands({ connect, load });
