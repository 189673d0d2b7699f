import type { Run, Section, Subcommand } from "../harness/section.ts";
import { toFileId } from "../load/catalogue.ts";
import { openContenders } from "./contenders.ts";
import { type Figures, median, toSection } from "./figures.ts";
import { gather, measure } from "./measure.ts";
import { filesOf, nameOf, QUICK_SCENARIOS, SCENARIOS } from "./scenarios.ts";

/*
 * Every scenario: all servers at their ceiling in turn, some rounds of that, then each at half of its own.
 */

const ROUNDS = 3;
const CEILING = { warmupSeconds: 0.4, seconds: 1 };
const HALF = { warmupSeconds: 0.3, seconds: 1.5 };
const QUICK = { rounds: 1, ceiling: { warmupSeconds: 0.3, seconds: 1 }, half: { warmupSeconds: 0.2, seconds: 1 } };

export const fanout: Subcommand = {
  name: "fanout",
  summary: "deliveries a second, and latency, to dashboards on one topic and on a thousand",
  flags: { "profile DIR": "a CPU profile of the server at its ceiling, without peers" },
  limitSeconds: 420,
  run: runFanout,
};

async function runFanout({ isQuick, flags, progress }: Run): Promise<Section> {
  const plan = isQuick ? QUICK : { rounds: ROUNDS, ceiling: CEILING, half: HALF };
  const scenarios = isQuick ? QUICK_SCENARIOS : SCENARIOS;
  const profile = flags.profile ?? null;
  progress("starting the servers", 0);
  const { contenders, skipped } = await openContenders(profile);
  const figures: Figures[] = [];
  for (const [i, scenario] of scenarios.entries()) {
    const say = (what: string, share: number) =>
      progress(`${nameOf(scenario)}: ${what}`, (i + share) / scenarios.length);
    const topics = filesOf(scenario).map((file) => `file:${toFileId(0, file)}`);
    let update = "";
    for (const contender of contenders) {
      say(`${contender.name} gathers its dashboards`, 0);
      await gather(contender, topics, scenario.dashboards, update);
      if (contender.name !== "playhead") continue;
      await measure(contender, { warmupSeconds: 0, seconds: 0.3 });
      update = toUpdate(await contender.audience.call<string>("sample"));
    }
    const ceilings = contenders.map((): Figures["servers"][number]["ceilings"] => []);
    for (let round = 0; round < plan.rounds; round++) {
      for (const [c, contender] of contenders.entries()) {
        say(`${contender.name} at its ceiling`, 0.2 + (0.6 * round) / plan.rounds);
        ceilings[c]?.push(await measure(contender, plan.ceiling));
      }
    }
    const servers: Figures["servers"] = [];
    for (const [c, { name, ...contender }] of contenders.entries()) {
      say(`${name} at half of it`, 0.8);
      const top = median(ceilings[c]?.map(({ roundsPerSecond }) => roundsPerSecond) ?? []);
      const half = await measure({ name, ...contender }, { ...plan.half, roundsPerSecond: top / 2 });
      servers.push({ name, ceilings: ceilings[c] ?? [], half });
    }
    figures.push({ scenario, servers });
  }
  progress("done", 1);
  return toSection(figures, { skipped, rounds: plan.rounds, isQuick });
}

/** The object in a frame: what the others are given to send. */
function toUpdate(frame: string): string {
  return frame.slice(frame.indexOf("{"), -1);
}
