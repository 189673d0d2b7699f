import type { Run, Section, Subcommand } from "../harness/section.ts";
import { type Cost, sumCosts } from "../load/cost-window.ts";
import { closePlayers, loadPlayers } from "../load/player-processes.ts";
import { type PlayheadServer, type StartOptions, startPlayhead } from "../load/playhead-server.ts";
import { FAST_RATE } from "./aims.ts";
import { measureInTurn, type Window } from "./contender.ts";
import { openPlayers, type Peers, playheadContender, startPeers } from "./contenders.ts";
import { dropDatabase, putCourses, readAfter } from "./database.ts";
import type { Figures } from "./figures.ts";
import { climb, sustained } from "./offered.ts";
import { FLAGS, type IngestOptions, readOptions } from "./options.ts";
import { runProfile } from "./profile.ts";
import { toSection } from "./section.ts";
import { measureSocketWork } from "./socket-work.ts";
import { measureWatched } from "./watched.ts";

/*
 * The course of a run. First one process: with its peers at saturation, at half its top rate with a dashboard watching,
 * then under a load that grows. The same for more workers, each number with a server and a database of its own; then
 * short frames, and the sockets without a database.
 */

const FAST_FRAME_INTERVAL_MS = 50;
const WARMUP_SECONDS = 2;
/** The first round also writes every row for the first time, and compiles. */
const FIRST_WARMUP_SECONDS = 4;
/** Of a step of the offered load: the step before it has warmed up already. */
const STEP_WARMUP_SECONDS = 1;

type Tell = (what: string, share: number) => void;

interface Served {
  server: PlayheadServer;
  players: Awaited<ReturnType<typeof openPlayers>>;
}

export const ingest: Subcommand = {
  name: "ingest",
  summary: "durable heartbeats a second and their latency, beside what one would use instead",
  flags: FLAGS,
  limitSeconds: 780,
  run: measure,
};

async function measure(run: Run): Promise<Section> {
  const options = readOptions(run);
  /** The part of the bar from one share to another. */
  const within =
    (from: number, to: number): Tell =>
    (what, share) =>
      run.progress(what, from + (to - from) * share);
  if (options.profile !== null) return await runProfile(options, within(0, 1));

  const has = (part: "saturation" | "offered" | "watched" | "sockets") => options.parts.has(part);
  const figures: Figures = {
    options,
    standings: [],
    cost: null,
    ladders: [],
    watched: { half: null, fast: null },
    sockets: null,
    after: [],
  };
  if (has("saturation") || has("offered") || has("watched")) {
    await measureOneProcess(figures, run, within);
    for (const [i, workers] of has("offered") ? options.workers.slice(1).entries() : []) {
      await measureWorkers(figures, { workers, run, tell: within(0.56 + i * 0.14, 0.7 + i * 0.14) });
    }
  }
  if (has("watched")) await measureFastFrames(figures, within(0.84, 0.9));
  if (has("sockets")) figures.sockets = await measureSocketWork(options, within(0.9, 1));
  return toSection(figures, run.isQuick);
}

async function measureOneProcess(
  figures: Figures,
  run: Run,
  within: (from: number, to: number) => Tell,
): Promise<void> {
  const { options } = figures;
  run.progress("building and starting the server", 0);
  const served = await serve(options, {});
  const topPerSecond = options.parts.has("saturation")
    ? await measureSaturation(figures, served, within(0.02, 0.38))
    : await measureTop(served, options);
  if (options.parts.has("watched")) {
    run.progress("half the top rate, with a dashboard watching", 0.38);
    figures.watched.half = await measureWatched(served, {
      ratePerSecond: Math.round(topPerSecond / 2),
      frameIntervalMs: served.server.config.FRAME_INTERVAL_MS,
      workers: 1,
      ...toWindow(options),
    });
  }
  if (options.parts.has("offered")) {
    const steps = await climb(served.server, served.players, {
      ...toPlan(options, run, within(0.42, 0.56)),
      topPerSecond,
    });
    figures.ladders.push({ workers: 1, topPerSecond, steps });
  }
  await endServed(figures, "one process", served);
}

/** All contenders in turn. @returns Playhead's median */
async function measureSaturation(figures: Figures, { server, players }: Served, tell: Tell): Promise<number> {
  const { options } = figures;
  tell("starting the peers", 0);
  const peers: Peers = await startPeers(server, options);
  const costs: Cost[] = [];
  const contenders = [playheadContender(server, players, (cost) => costs.push(cost)), ...peers.contenders];
  figures.standings = await measureInTurn(contenders, {
    rounds: options.rounds,
    windowOf: (round) => ({
      warmupSeconds: round === 0 ? FIRST_WARMUP_SECONDS : WARMUP_SECONDS,
      seconds: options.seconds,
    }),
    tell,
  });
  figures.cost = sumCosts(costs);
  await peers.stop();
  // Nothing that they left behind is to be cleared up while others are measured.
  await dropDatabase(server.databaseUrl, peers.database);
  return figures.standings[0]?.perSecond ?? 0;
}

async function measureWorkers(
  figures: Figures,
  { workers, run, tell }: { workers: number; run: Run; tell: Tell },
): Promise<void> {
  const { options } = figures;
  tell(`starting a server of ${workers} workers`, 0);
  const served = await serve(options, { workers });
  const topPerSecond = await measureTop(served, options);
  const steps = await climb(served.server, served.players, { ...toPlan(options, run, tell), topPerSecond });
  figures.ladders.push({ workers, topPerSecond, steps });
  await endServed(figures, `${workers} workers`, served);
}

/** With the fewest workers that carry the rate; where none do, with those that carry most, at what they carry. */
async function measureFastFrames(figures: Figures, tell: Tell): Promise<void> {
  const { options, ladders } = figures;
  tell("starting a server with short frames", 0);
  const most = ladders.toSorted((a, b) => sustained(b) - sustained(a))[0];
  const chosen = ladders.find((ladder) => sustained(ladder) >= FAST_RATE) ?? most;
  const workers = chosen?.workers ?? 1;
  const env = { FRAME_INTERVAL_MS: String(FAST_FRAME_INTERVAL_MS) };
  const served = await serve(options, { workers, env });
  const topPerSecond = await measureTop(served, options);
  const carried = chosen === undefined ? topPerSecond * 0.9 : sustained(chosen);
  const ratePerSecond = Math.min(FAST_RATE, Math.round(carried));
  tell(`${ratePerSecond.toLocaleString("en-US")} a second with short frames, with a dashboard watching`, 0.5);
  figures.watched.fast = await measureWatched(served, {
    ratePerSecond,
    frameIntervalMs: FAST_FRAME_INTERVAL_MS,
    workers,
    ...toWindow(options),
  });
  await endServed(figures, "short frames", served);
}

async function serve(options: IngestOptions, start: StartOptions): Promise<Served> {
  const { nodeFlags, writers } = options;
  const server = await startPlayhead({ nodeFlags, ...(writers === undefined ? {} : { writers }), ...start });
  await putCourses(server, options.shape);
  return { server, players: await openPlayers(server, options) };
}

async function endServed(figures: Figures, name: string, { server, players }: Served): Promise<void> {
  figures.after.push({ server: name, ...(await readAfter(server, figures.options.shape)) });
  await closePlayers(players);
  await server.stop();
}

/** The top rate by closed loop, after every row was written once. */
async function measureTop({ players }: Served, { stepSeconds: seconds }: IngestOptions): Promise<number> {
  return (await loadPlayers(players, { warmupSeconds: FIRST_WARMUP_SECONDS, seconds })).perSecond;
}

function toWindow({ seconds }: IngestOptions): Window {
  return { warmupSeconds: WARMUP_SECONDS, seconds: Math.max(4, seconds) };
}

function toPlan({ stepSeconds }: IngestOptions, { isQuick }: Run, tell: Tell) {
  return { warmupSeconds: STEP_WARMUP_SECONDS, seconds: stepSeconds, isQuick, tell };
}
