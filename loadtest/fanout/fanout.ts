import type { LoadPlan } from "../harness/load.ts";
import { type Findings, type Run, type Subcommand, within } from "../harness/section.ts";
import { measureInTurn, measureOnce, type Summary } from "../harness/window.ts";
import { toFileId } from "../load/catalogue.ts";
import { type FanoutContender, NAMES, openContenders } from "./contenders.ts";
import type { Gather } from "./dashboards.ts";
import { AUDIENCES, type AudienceFigures, filesOf, nameOf, toSection, updatesPerSecond } from "./section.ts";

/*
 * The steps of a run, for each audience: rounds of all contenders at their ceiling, then each at half of its own ceiling.
 */

const FULL = { audiences: AUDIENCES, rounds: 3, halfSeconds: 1.5 };
const QUICK = { audiences: AUDIENCES.slice(0, 3), rounds: 1, halfSeconds: 1 };
const CEILING: LoadPlan = { warmupSeconds: 0.4, seconds: 1 };
/** The load that gives a frame of Playhead, for the others to send. */
const SAMPLE: LoadPlan = { warmupSeconds: 0, seconds: 0.3 };

export const fanout: Subcommand = {
  name: "fanout",
  summary: "deliveries a second, and latency, to dashboards on one topic and on a thousand",
  flags: { "--profile DIR": "a CPU profile of the server at its ceiling, without other contenders" },
  limitSeconds: 420,
  run: measureFanout,
};

async function measureFanout({ isQuick, flags, tell }: Run): Promise<Findings> {
  const { audiences, rounds, halfSeconds } = isQuick ? QUICK : FULL;
  const profile = flags.profile ?? null;
  tell("starting the servers", 0);
  const { contenders, skipped } = await openContenders(profile);
  const figures: AudienceFigures[] = [];
  for (const [i, audience] of audiences.entries()) {
    const tellHere = within(
      (what, share) => tell(`${nameOf(audience)}: ${what}`, share),
      i / audiences.length,
      (i + 1) / audiences.length,
    );
    tellHere("gathering dashboards", 0);
    const topics = filesOf(audience).map((file) => `file:${toFileId(0, file)}`);
    await gatherAll(contenders, { dashboards: audience.dashboards, topics });
    const turns = { rounds, planOf: () => CEILING, tell: within(tellHere, 0.2, 0.8) };
    const ceilings = await measureInTurn(contenders, turns);
    const halves: Summary[] = [];
    for (const [c, contender] of contenders.entries()) {
      tellHere(`${contender.name} at half of its ceiling`, 0.8 + (0.2 * c) / contenders.length);
      const ratePerSecond = updatesPerSecond(ceilings[c] as Summary) / 2;
      halves.push(await measureOnce(contender, { warmupSeconds: 0.3, seconds: halfSeconds, ratePerSecond }));
    }
    figures.push({ audience, ceilings, halves });
  }
  return toSection(figures, { skipped, rounds, isPartial: profile !== null });
}

async function gatherAll(contenders: FanoutContender[], given: Omit<Gather, "update">): Promise<void> {
  let update = "";
  for (const { name, dashboards, load } of contenders) {
    await dashboards.call("gather", { ...given, update } satisfies Gather);
    if (name !== NAMES.playhead) continue;
    await load(SAMPLE);
    const frame = await dashboards.call<string>("sampleFrame");
    // The object of `["update",{…}]`.
    update = frame.slice(frame.indexOf("{"), -1);
  }
}
