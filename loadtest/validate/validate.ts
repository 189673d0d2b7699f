import { openBareServer, openPosts, openSelects } from "../contenders/open.ts";
import { type LoadChild, startLoad } from "../harness/child-process.ts";
import { readMachine } from "../harness/process-cpu.ts";
import { type Findings, type Run, type Subcommand, within } from "../harness/section.ts";
import { type Contender, climb, measureInTurn, measureOnce, measureWindow, summarize } from "../harness/window.ts";
import { createDatabase } from "../load/database.ts";
import { type PlayheadServer, startPlayhead } from "../load/playhead-server.ts";
import type { ChecksPlan, ConnectMediaServers } from "./media-servers.ts";
import { type Figures, NAMES, toSection } from "./section.ts";
import { openStreamTables, type Streams, type StreamTables, toStreamKey } from "./stream-tables.ts";

/*
 * The steps of a run: rounds at saturation, with Playhead in the four states of a key (never checked, encoder came back,
 * encoder live, second encoder) in turn with the other contenders; then the open loop: a ladder of offered rates, and a
 * flood of wrong keys. An operation is an answer.
 */

/** Each round checks this many `coldStreams` for the first time. */
const FULL = { rounds: 3, seconds: 3, coldStreams: 6000, rates: [2000, 5000, 10_000, 15_000, 20_000, 25_000, 30_000] };
const QUICK: typeof FULL = { rounds: 1, seconds: 1.5, coldStreams: 3000, rates: [5000, 10_000, 20_000] };

/** Live streams, whose media servers check their keys again. */
const LIVE: Streams = { from: 0, count: 5000 };
const COLD_PER_SECOND = 1000;
const FLOOD = { ratePerSecond: 2000, wrongPerSecond: 20_000 };
const SECRET = "loadtest-media-servers";
/** More connections gain nothing on two cores. */
const HOOK_CONNECTIONS = 64;
const HOOK_POOL = 8;
const SELECT_CONNECTIONS = 8;

type ChecksContender = Contender<ChecksPlan>;

export const validate: Subcommand = {
  name: "validate",
  summary: "stream-key checks a second, and latency: cold, warm, under a flood of wrong keys",
  flags: { "--profile DIR": "a CPU profile of the server with warm keys at saturation, nothing else" },
  limitSeconds: 300,
  run: measureValidate,
};

async function measureValidate({ isQuick, flags, tell }: Run): Promise<Findings> {
  const options = isQuick ? QUICK : FULL;
  const { rounds, seconds, coldStreams, rates } = options;
  const profile = flags.profile ?? null;
  tell("starting the servers", 0);
  const server = await startPlayhead({ profile, env: { RTMP_SECRETS: SECRET } });
  const mediaServers = await openMediaServers(server.url);
  const tables = await openStreamTables(server.databaseUrl);
  await tables.change("create", LIVE);
  await tables.change("goLive", LIVE);
  // One range more for the warm-up, and one for the open loop.
  const colds = Array.from({ length: rounds + 2 }, (_, round): Streams => {
    return { from: LIVE.count + round * coldStreams, count: coldStreams };
  });
  for (const streams of colds) await tables.change("create", streams);
  await tables.vacuum();

  const warm = { name: NAMES.warm, read: server.read, load: mediaServers.load };
  const plan: ChecksPlan = { warmupSeconds: 0, seconds, streams: LIVE, connections: "own" };
  const figures: Figures = { options, liveStreams: LIVE.count, standings: [], openLoop: [], ladder: [], wrongs: null };
  tell("warming up", 0.1);
  await warm.load(plan);
  if (profile !== null) {
    figures.standings.push(await measureOnce(warm, { ...plan, seconds: 4 * seconds }));
    return toSection(figures);
  }
  const others = await openContenders(server, await mediaServers.call<string>("sampleAnswer"));
  figures.standings = await measureInTurn([...inFourStates(warm, tables, colds), ...others], {
    rounds,
    warmupRounds: 1,
    planOf: (round, name) => planOf({ name, plan, streams: colds[round] as Streams }),
    tell: within(tell, 0.1, 0.6),
  });

  const measureOpen = async (name: string, share: number, given: Partial<ChecksPlan>) => {
    tell(name, share);
    const window = await measureWindow(warm, { ...plan, warmupSeconds: seconds / 4, ...given });
    figures.openLoop.push(summarize(name, [window]));
    if (window.beside === undefined) return;
    figures.openLoop.push(summarize("the flood of wrong keys", [{ ...window.beside, grown: {}, foreignCores: null }]));
  };
  const cold = { streams: colds.at(-1) as Streams, ratePerSecond: COLD_PER_SECOND, warmupSeconds: 0 };
  await measureOpen("cold", 0.62, { ...cold, seconds: coldStreams / COLD_PER_SECOND });
  await tables.change("end", cold.streams);
  figures.ladder = await climb(warm, {
    rates,
    plan: { ...plan, warmupSeconds: seconds / 6 },
    tell: within(tell, 0.66, 0.86),
  });
  await measureOpen("right keys alone", 0.88, { ratePerSecond: FLOOD.ratePerSecond });
  await measureOpen("right keys beside the flood", 0.92, { ...FLOOD, seconds: 2 * seconds });
  return toSection({ ...figures, wrongs: await tables.countWrongs() });
}

function openMediaServers(url: string): Promise<LoadChild> {
  const argument: ConnectMediaServers = { url, secret: SECRET };
  return startLoad(new URL("./media-servers.ts", import.meta.url), argument);
}

/** Opens the contenders but Playhead, on a database of their own. `answer` is the JSON of an answer of Playhead. */
async function openContenders(
  { dataDir, databaseUrl: ownUrl }: PlayheadServer,
  answer: string,
): Promise<ChecksContender[]> {
  const keys = Array.from({ length: LIVE.count }, (_, stream) => toStreamKey(stream));
  const databaseUrl = await createDatabase(ownUrl, "contenders");
  const echo = await openBareServer({ ack: answer }, dataDir);
  const { load } = await openMediaServers(echo.url);
  const posts = { databaseUrl, poolSize: HOOK_POOL, publishHook: { keys } };
  const hook = await openPosts(posts, { connections: HOOK_CONNECTIONS, streamKeys: keys }, dataDir);
  const selects = await openSelects({ databaseUrl, connections: SELECT_CONNECTIONS, keys });
  return [
    { name: NAMES.echo, read: echo.read, load },
    { name: NAMES.hook, ...hook },
    { name: NAMES.select, read: () => readMachine(dataDir), load: selects.load },
  ];
}

/** Playhead as four contenders, one for each state of a key. `colds` are the streams of each round. */
function inFourStates(warm: ChecksContender, tables: StreamTables, colds: Streams[]): ChecksContender[] {
  let round = 0;
  const change = (how: "leave" | "end") => tables.change(how, colds[round] as Streams);
  return [
    { ...warm, name: NAMES.cold },
    { ...warm, name: NAMES.claimed, prepare: () => change("leave") },
    { ...warm, prepare: () => change("end").then(() => round++) },
    { ...warm, name: NAMES.second },
  ];
}

/** Cold keys are checked once each, all others until the window ends. */
function planOf({ name, plan, streams }: { name: string; plan: ChecksPlan; streams: Streams }): ChecksPlan {
  const once = { ...plan, streams, seconds: Number.POSITIVE_INFINITY, operations: streams.count };
  if (name === NAMES.cold) return once;
  if (name === NAMES.claimed) return { ...once, connections: "other" };
  if (name === NAMES.second) return { ...plan, connections: "other", seconds: plan.seconds / 2 };
  return name === NAMES.select ? { ...plan, seconds: plan.seconds / 2 } : plan;
}
