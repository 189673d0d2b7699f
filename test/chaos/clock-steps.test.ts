import { setTimeout as delay } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createDashboard, type Dashboard, type Subscription } from "../../src/client/dashboard.ts";
import { createPlayer, type Player } from "../../src/client/player.ts";
import {
  clockOfDatabase,
  clockOfServer,
  createDeviceClock,
  SETTABLE_NODE,
  type SettableClock,
  STEP_MS,
} from "../helpers/clock-steps.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The wall clocks of the server, the database and the players are set forward by an hour and back, one after another,
 * while players play and dashboards watch. Nobody loses the connection, everything that was played is credited, and
 * dashboards go on showing what is stored.
 */

const PLAYERS = 20;
/** Short enough to end while a clock is set forward, if it ended by that clock. */
const TOKEN_SECONDS = 600;
const TICK_MS = 50;
const TICKS = 30;

/** A player, and how far it has played, in ms. */
interface Viewer {
  userId: string;
  player: Player;
  playedMs: number;
}

let database: TestDatabase;
let server: ServerProcess;
let clocks: SettableClock[];
const device = createDeviceClock();
const viewers: Viewer[] = [];
let dashboard: Dashboard;
let course: Subscription;
const states: string[] = [];
/** What shows that a clock was set forward. */
const isForward: Record<string, () => Promise<boolean> | boolean> = {
  server: () => isLater(Date.parse(course.current.at ?? "")),
  players: () => isLater(device.wallMs()),
  async database() {
    const [newest] = await database.query<{ at: Date }>("SELECT max(last_updated) AS at FROM course_progress");
    return isLater(newest?.at.getTime());
  },
};
const isLater = (ms = 0) => ms > Date.now() + STEP_MS / 2;

beforeAll(async () => {
  database = await createTestDatabase();
  const databaseClock = await clockOfDatabase(database);
  server = await startServerProcess({
    env: { ...serverEnv(database, { BEAT_INTERVAL_MS: "1000", LOG_LEVEL: "warn" }), ...SETTABLE_NODE },
  });
  clocks = [clockOfServer(server), databaseClock, device];
  await putCourse(server.url, "c1", {
    title: "Course",
    lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "One", durationSeconds: 3600 }] }],
  });
  dashboard = createDashboard({ url: server.url, token: await mintToken("root", "admin", TOKEN_SECONDS) });
  dashboard.onState((state) => states.push(state));
  course = dashboard.subscribe("course:c1", () => undefined);
  for (let i = 0; i < PLAYERS; i++) await addViewer();
});
afterAll(async () => {
  for (const { player } of viewers) await player.close();
  dashboard.close();
  await server.stop();
  await database.drop();
});

async function addViewer(): Promise<void> {
  const userId = `user-${viewers.length}`;
  const token = await mintToken(userId, "learner", TOKEN_SECONDS);
  const player = createPlayer({ url: server.url, token, fileId: "f1", storage: null, clock: device });
  player.on("state", (state) => states.push(state));
  player.on("error", (error) => states.push(`${userId}: ${error.message}`));
  await player.ready;
  viewers.push({ userId, player, playedMs: 0 });
}

/** Everybody plays for a while, at normal speed. */
async function play(): Promise<void> {
  for (let i = 0; i < TICKS; i++) {
    for (const viewer of viewers) {
      const { player, playedMs } = viewer;
      viewer.playedMs += TICK_MS;
      player.played(playedMs / 1000, viewer.playedMs / 1000);
      player.report({ position: viewer.playedMs / 1000, state: "playing" });
      if (i % 5 === 0) player.beat();
    }
    await delay(TICK_MS);
  }
}

/** Waits until everything that was played is acked and stored, and the dashboard shows it. */
async function expectLevel(when: string): Promise<void> {
  for (const { player } of viewers) player.beat();
  await waitFor(() => viewers.every(({ player }) => player.pending === 0), { what: `every beat to be acked ${when}` });
  const rows = await database.query<{ userId: string; version: number; watched: number }>(
    `SELECT user_id AS "userId", version, watched_ms AS watched FROM course_progress`,
  );
  const stored = new Map(rows.map(({ userId, version, watched }) => [userId, `${version}: ${watched}`]));
  for (const { userId, playedMs } of viewers) expect(stored.get(userId)).toMatch(new RegExp(`: ${playedMs}$`));
  await waitFor(
    () => {
      const { courses, totals, viewers: present, stale } = course.current;
      const shown = new Map(courses.map((row) => [row.userId, `${row.version}: ${row.watchedDuration * 1000}`]));
      expect(shown).toEqual(stored);
      expect({ learners: totals?.learners, present, stale }).toEqual({
        learners: viewers.length,
        present: viewers.length,
        stale: false,
      });
      return true;
    },
    { what: `the dashboard to show what is stored ${when}` },
  );
}

it("credits and shows everything while wall clocks are set forward and back", async () => {
  await play();
  await expectLevel("at the start");
  for (const clock of clocks) {
    await clock.setForward();
    await play();
    await expectLevel(`after the clock of the ${clock.name} was set forward`);
    expect(await isForward[clock.name]?.()).toBe(true);
    await clock.setBack();
    await addViewer();
    await play();
    await expectLevel(`after the clock of the ${clock.name} was set back`);
  }
  expect(new Set(states)).toEqual(new Set(["online"]));
  expect(server.process.stderr()).toBe("");
});
