import { fileURLToPath } from "node:url";
import { loadConfig } from "../../src/config.ts";
import { openBareServer } from "../contenders/open.ts";
import { type LoadChild, startLoad } from "../harness/child-process.ts";
import { inScope } from "../harness/cleanup.ts";
import { type Findings, type Run, type Subcommand, type Tell, within } from "../harness/section.ts";
import { whole } from "../harness/table.ts";
import { type Contender, climb, measureInTurn, measureOnce } from "../harness/window.ts";
import type { ConnectProbe } from "../load/dashboard-probe.ts";
import { readAftermath } from "../load/database.ts";
import { type PlayheadServer, startPlayhead } from "../load/playhead-server.ts";
import { NAMES, openContenders, openPlayers } from "./contenders.ts";
import { FAST_RATE, type Figures, type Watched } from "./figures.ts";
import { FLAGS, type IngestOptions, readOptions } from "./options.ts";
import { toSection } from "./section.ts";

/*
 * The steps of a run: one process at saturation, in turn with all contenders; the same process at half its top rate while a
 * dashboard watches, and on a ladder of offered rates; a ladder for each further number of workers, each with a new server;
 * a server with short frames; the sockets without a database.
 */

const WARMUP_SECONDS = 2;
/** In the first window Node compiles the code, and every row is written for the first time. */
const FIRST_WARMUP_SECONDS = 4;
/** The step before warmed up the server. */
const STEP_WARMUP_SECONDS = 1;

/** Shares of the top rate at saturation. The last ones count if a disturbance made the top rate too low. */
const SHARES = [0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 1, 1.1, 1.2, 1.35, 1.5, 1.9, 2.3, 2.9, 3.7];
const QUICK_SHARES = [0.25, 0.5, 0.75, 1, 1.25, 1.5, 1.9, 2.3, 2.9, 3.7];

const FAST_FRAME_INTERVAL_MS = 50;
/** Learners whose heartbeats are timed until the dashboard shows them. */
const PROBED_LEARNERS = 20;

const STUB_WRITER = fileURLToPath(new URL("../writer/stub-writer.js", import.meta.url));
/** The load without a database: 4,000 players send 10,000 heartbeats a second. */
const SOCKETS_RATE_A_PLAYER = 2.5;

export const ingest: Subcommand = {
  name: "ingest",
  summary: "durable heartbeats a second, their CPU and latency, beside other designs",
  flags: FLAGS,
  limitSeconds: 840,
  run: measureIngest,
};

/** Playhead with its players. */
interface Served extends Contender {
  server: PlayheadServer;
  players: LoadChild;
}

async function measureIngest({ isQuick, flags, tell }: Run): Promise<Findings> {
  const options = readOptions({ isQuick, flags });
  const { kinds } = options;
  const empty = { standings: [], ladders: [], watched: [], sockets: [], aftermaths: [] };
  const figures: Figures = { options, ackBytes: null, ...empty };
  if (kinds.has("saturation") || kinds.has("offered") || kinds.has("watched")) {
    await inScope(() => measureOneProcess(figures, within(tell, 0, 0.56)));
  }
  for (const [i, workers] of kinds.has("offered") ? options.workers.slice(1).entries() : []) {
    await inScope(() => measureWorkers(figures, workers, within(tell, 0.56 + i * 0.14, 0.7 + i * 0.14)));
  }
  if (kinds.has("watched")) await inScope(() => measureFastFrames(figures, within(tell, 0.84, 0.9)));
  if (kinds.has("sockets")) await measureSockets(figures, within(tell, 0.9, 1));
  return toSection(figures);
}

async function measureOneProcess(figures: Figures, tell: Tell): Promise<void> {
  const { options } = figures;
  tell("building and starting the server", 0);
  const served = await serve(options);
  const topPerSecond = options.kinds.has("saturation")
    ? await inScope(() => measureSaturation(figures, served, within(tell, 0.05, 0.7)))
    : await measureTop(served, options);
  if (options.kinds.has("watched")) {
    tell("half the top rate, with a dashboard watching", 0.7);
    const [ratePerSecond, frameIntervalMs] = [Math.round(topPerSecond / 2), loadConfig({}).FRAME_INTERVAL_MS];
    await measureWatched(figures, served, { isFast: false, ratePerSecond, frameIntervalMs });
  }
  if (options.kinds.has("offered")) {
    await climbLadder(figures, served, { workers: 1, topPerSecond }, within(tell, 0.75, 1));
  }
  await look(figures, "one process", served);
}

/** Measures all contenders in turn. @returns the heartbeats a second of Playhead */
async function measureSaturation(figures: Figures, served: Served, tell: Tell): Promise<number> {
  const { options } = figures;
  tell("starting the contenders", 0);
  const ack = await sampleAck(served.players);
  figures.ackBytes = toWireBytes(ack);
  const others = options.profile === null ? await openContenders(served.server, options, ack) : [];
  figures.standings = await measureInTurn([served, ...others], {
    rounds: options.rounds,
    planOf: (round) => ({
      warmupSeconds: round === 0 ? FIRST_WARMUP_SECONDS : WARMUP_SECONDS,
      seconds: options.seconds,
    }),
    tell,
  });
  return figures.standings[0]?.perSecond ?? 0;
}

/** @returns the JSON of an ack to a heartbeat that continues the one before */
async function sampleAck(players: LoadChild): Promise<string> {
  await players.load({ warmupSeconds: 0, seconds: 2 });
  return await players.call<string>("sampleAck");
}

/** The bytes of an ack's frame, for a call with a number of three digits. */
function toWireBytes(ack: string): number {
  const { length } = `43/player,123${ack}`;
  return length + (length < 126 ? 2 : 4);
}

async function measureWorkers(figures: Figures, workers: number, tell: Tell): Promise<void> {
  tell(`starting a server of ${workers} workers`, 0);
  const served = await serve(figures.options, { WORKERS: String(workers) });
  const topPerSecond = await measureTop(served, figures.options);
  await climbLadder(figures, served, { workers, topPerSecond }, tell);
  await look(figures, `${workers} workers`, served);
}

async function climbLadder(
  { ladders, options }: Figures,
  served: Served,
  { workers, topPerSecond }: { workers: number; topPerSecond: number },
  tell: Tell,
): Promise<void> {
  const rates = (options.isQuick ? QUICK_SHARES : SHARES).map((share) => Math.round(share * topPerSecond));
  const plan = { warmupSeconds: STEP_WARMUP_SECONDS, seconds: options.stepSeconds };
  ladders.push({ workers, topPerSecond, steps: await climb(served, { rates, plan, tell }) });
}

/** Offers FAST_RATE, or 90 % of the top rate if that is less. */
async function measureFastFrames(figures: Figures, tell: Tell): Promise<void> {
  tell("starting a server with short frames", 0);
  const served = await serve(figures.options, { FRAME_INTERVAL_MS: String(FAST_FRAME_INTERVAL_MS) });
  const topPerSecond = await measureTop(served, figures.options);
  const ratePerSecond = Math.min(FAST_RATE, Math.round(topPerSecond * 0.9));
  tell(`${whole(ratePerSecond)} a second with short frames, with a dashboard watching`, 0.5);
  await measureWatched(figures, served, { isFast: true, ratePerSecond, frameIntervalMs: FAST_FRAME_INTERVAL_MS });
  await look(figures, "short frames", served);
}

/** Runs an open loop while an instructor's dashboard watches one of its courses. */
async function measureWatched(
  { watched, options: { acks, seconds } }: Figures,
  served: Served,
  given: Omit<Watched, "ack" | "dashboard">,
): Promise<void> {
  const { url, secret } = served.server;
  const argument: ConnectProbe = { url, secret, acks, course: 0, learners: PROBED_LEARNERS };
  const { load } = await startLoad(new URL("../load/dashboard-probe.ts", import.meta.url), argument);
  const plan = { warmupSeconds: WARMUP_SECONDS, seconds: Math.max(4, seconds) };
  const [ack, dashboard] = await Promise.all([
    measureOnce({ ...served, name: "ack" }, { ...plan, ratePerSecond: given.ratePerSecond }),
    measureOnce({ name: "dashboard", read: async () => ({}), load }, plan),
  ]);
  watched.push({ ...given, ack, dashboard });
}

/**
 * Measures the CPU of a heartbeat in the server's process without a database: the server with a writer that writes nothing,
 * and the bare uWebSockets.js. Both get the same rate, because a heartbeat costs less when more of them come at once.
 */
async function measureSockets(figures: Figures, tell: Tell): Promise<void> {
  const { options } = figures;
  tell("starting a server without a writer, and a bare one", 0);
  const served = await serve({ ...options, nodeFlags: [...options.nodeFlags, "--import", STUB_WRITER] });
  const { server, players } = served;
  const bare = await openBareServer({ ack: await sampleAck(players) });
  const barePlayers = await openPlayers({ url: bare.url, secret: server.secret }, options);
  // Node compiles the code, and caches fill.
  for (const { load } of [players, barePlayers]) await load({ warmupSeconds: 0, seconds: 3 });
  const contenders = [
    { ...served, name: NAMES.playheadSockets },
    { name: NAMES.bareSockets, read: bare.read, load: barePlayers.load },
  ];
  const planOf = () => ({ warmupSeconds: 1.5, seconds: 3, ratePerSecond: options.players * SOCKETS_RATE_A_PLAYER });
  figures.sockets = await measureInTurn(contenders, { rounds: options.rounds, planOf, tell });
}

async function serve(options: IngestOptions, env: Record<string, string> = {}): Promise<Served> {
  const { nodeFlags, profile } = options;
  const server = await startPlayhead({ nodeFlags, profile, env: { ...options.env, ...env } });
  await server.putCourses(options.shape);
  const players = await openPlayers(server, options);
  return { name: NAMES.playhead, read: server.read, load: players.load, server, players };
}

/** Reads the state of the database after the load. */
async function look({ options, aftermaths }: Figures, name: string, { server }: Served): Promise<void> {
  aftermaths.push({ server: name, ...(await readAftermath(server, options.shape.courses)) });
}

/** The top rate at saturation. The warm-up writes every row once. */
async function measureTop(served: Served, { stepSeconds: seconds }: IngestOptions): Promise<number> {
  return (await measureOnce(served, { warmupSeconds: FIRST_WARMUP_SECONDS, seconds })).perSecond;
}
