import type { Run, Section, Subcommand } from "../harness/section.ts";
import { openContenders } from "./contenders.ts";
import { type Figures, toSection } from "./figures.ts";
import { type Streams, StreamTables } from "./keys.ts";

/*
 * Rounds at saturation, all in turn: keys that were never asked for, keys that are known and claimed anew, keys of
 * encoders that are on air; and the peers. Then the open loop: offered load, and a flood of wrong keys.
 */

const FULL = {
  rounds: 3,
  /** Claimed for the first time in each round. */
  coldStreams: 6000,
  seconds: 3,
  warmupSeconds: 1.5,
  offered: [2000, 5000, 10_000, 15_000, 20_000, 25_000, 30_000],
  offeredSeconds: 3,
  floodSeconds: 6,
};
const QUICK = {
  rounds: 1,
  coldStreams: 3000,
  seconds: 1.5,
  warmupSeconds: 1,
  offered: [5000, 10_000, 20_000],
  offeredSeconds: 1.5,
  floodSeconds: 2.5,
};

/** On air, so that their media servers ask again. */
const LIVE: Streams = { from: 0, count: 5000 };
const OWN_CONNECTION = "c";
const OTHER_CONNECTION = "d";
/** Enough for one process to have always something to do. */
const UNDER_WAY = 256;
const FLOOD = { perSecond: 2000, wrongPerSecond: 20_000 };
const OPEN_CLAIMS_PER_SECOND = 1000;

export const validate: Subcommand = {
  name: "validate",
  summary: "stream-key checks a second, and latency: cold, warm, under a flood of wrong keys",
  flags: { "profile DIR": "a CPU profile of the server with warm keys at saturation, nothing else" },
  limitSeconds: 240,
  run: runValidate,
};

async function runValidate({ isQuick, flags, progress }: Run): Promise<Section> {
  const plan = isQuick ? QUICK : FULL;
  const profile = flags.profile ?? null;
  progress("starting the servers", 0);
  const { server, playhead, echo, hook, select } = await openContenders(LIVE, profile);
  const tables = await StreamTables.open(server.databaseUrl);
  await tables.create(LIVE);
  await tables.goLive(LIVE);
  const coldOf = (round: number): Streams => ({
    from: LIVE.count + round * plan.coldStreams,
    count: plan.coldStreams,
  });
  // One more for the warm-up, and one for the open loop.
  const [forWarmUp, forOpenLoop] = [coldOf(plan.rounds), coldOf(plan.rounds + 1)];
  for (let round = 0; round < plan.rounds + 2; round++) await tables.create(coldOf(round));
  await tables.vacuum();

  const warm = { streams: LIVE, connectionPrefix: OWN_CONNECTION, underWay: UNDER_WAY };
  const figures: Figures = {
    ...{ plan, isQuick, isPartial: profile !== null, live: LIVE.count, underWay: UNDER_WAY },
    ...{
      cold: [],
      claimed: [],
      warm: [],
      second: [],
      echo: [],
      hook: [],
      select: [],
      offered: [],
      wrongs: 0,
      deadlocks: 0,
    },
    ...{ coldOpen: null, alone: null, flood: null },
  };
  // Compiles what is measured.
  progress("warming up", 0.1);
  await playhead.measure({ ...warm, seconds: 2 * plan.warmupSeconds });
  if (profile !== null) {
    figures.warm.push(await playhead.measure({ ...warm, seconds: 4 * plan.seconds }));
    await tables.close();
    await server.stop();
    return toSection(figures);
  }
  await playhead.measure({ ...warm, streams: forWarmUp });
  await tables.leave(forWarmUp);
  await playhead.measure({ ...warm, streams: forWarmUp, connectionPrefix: OTHER_CONNECTION });
  await tables.end(forWarmUp);
  await echo.measure({ ...warm, seconds: plan.warmupSeconds });
  await hook.measure({ ...warm, seconds: plan.warmupSeconds });
  await select.measure({ ...warm, seconds: plan.warmupSeconds / 2 });
  for (let round = 0; round < plan.rounds; round++) {
    const tell = (what: string, step: number) =>
      progress(`round ${round + 1} of ${plan.rounds}: ${what}`, 0.15 + (0.45 * (round + step / 7)) / plan.rounds);
    const cold = coldOf(round);
    tell("keys that were never asked for", 0);
    figures.cold.push(await playhead.measure({ ...warm, streams: cold }));
    await tables.leave(cold);
    tell("encoders that come back", 1);
    figures.claimed.push(await playhead.measure({ ...warm, streams: cold, connectionPrefix: OTHER_CONNECTION }));
    await tables.end(cold);
    tell("encoders on air, asked about again", 2);
    figures.warm.push(await playhead.measure({ ...warm, seconds: plan.seconds }));
    tell("second encoders, refused", 3);
    const second = { ...warm, connectionPrefix: OTHER_CONNECTION, seconds: plan.seconds / 2 };
    figures.second.push(await playhead.measure(second));
    tell(echo.name, 4);
    figures.echo.push(await echo.measure({ ...warm, seconds: plan.seconds }));
    tell(hook.name, 5);
    figures.hook.push(await hook.measure({ ...warm, seconds: plan.seconds }));
    tell(select.name, 6);
    figures.select.push(await select.measure({ ...warm, seconds: plan.seconds / 2 }));
  }
  progress("keys that were never asked for, open loop", 0.62);
  const { underWay: _, ...open } = warm;
  figures.coldOpen = await playhead.measure({
    ...open,
    streams: forOpenLoop,
    perSecond: OPEN_CLAIMS_PER_SECOND,
    seconds: plan.coldStreams / OPEN_CLAIMS_PER_SECOND,
  });
  await tables.end(forOpenLoop);
  for (const [i, perSecond] of plan.offered.entries()) {
    progress(`${perSecond} a second, whatever the answers do`, 0.66 + (0.2 * i) / plan.offered.length);
    await playhead.measure({ ...open, perSecond, seconds: plan.warmupSeconds / 3 });
    const seen = await playhead.measure({ ...open, perSecond, seconds: plan.offeredSeconds });
    figures.offered.push({ perSecond, seen });
  }
  progress("right keys alone", 0.88);
  const right = { ...open, perSecond: FLOOD.perSecond };
  figures.alone = await playhead.measure({ ...right, seconds: plan.floodSeconds / 2 });
  progress("right keys beside a flood of wrong ones", 0.92);
  await playhead.measure({ ...right, ...FLOOD, seconds: plan.warmupSeconds / 2 });
  figures.flood = await playhead.measure({ ...right, ...FLOOD, seconds: plan.floodSeconds });
  Object.assign(figures, await tables.countWrongs());
  await tables.close();
  progress("done", 1);
  return toSection(figures);
}
