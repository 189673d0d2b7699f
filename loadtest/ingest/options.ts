import { readChoice, readWholeNumber } from "../harness/flags.ts";
import type { Run, Subcommand } from "../harness/section.ts";
import type { Shape } from "../load/catalogue.ts";
import { ACKS } from "../load/player.ts";

/** The kinds of windows of a run. */
const KINDS = ["saturation", "offered", "watched", "sockets"] as const;

export type IngestOptions = ReturnType<typeof readOptions>;

/**
 * At 10,000 heartbeats a second each course gets 170, as from 1,700 learners with a heartbeat every ten seconds. With many
 * more a topic is full: four frames a second of 64 KB have room for about 450 changes.
 */
const SHAPE: Shape = { courses: 60, files: 20 };

export const FLAGS: Subcommand["flags"] = {
  "--seconds N": "length of a window (default 5)",
  "--connections N": "players (default 4000)",
  "--acks KIND": `the acks that players ask for: ${ACKS.join(" or ")} (default ${ACKS[0]})`,
  "--env LIST": "settings of the server, such as WRITERS=4,FLUSH_INTERVAL_MS=20",
  "--node FLAGS": "flags of Node for the server, such as --node=--max-semi-space-size=64",
  "--only KIND": `only this kind of window, for tuning: ${KINDS.join(", ")}`,
  "--profile DIR": "only a CPU profile of the server at saturation",
};

/** @throws FlagError */
export function readOptions({ isQuick, flags }: Pick<Run, "isQuick" | "flags">) {
  const only = flags.only === undefined ? null : readChoice(flags, "only", KINDS, "saturation");
  /** The folder for the server's CPU profile. With it, only Playhead runs, at saturation. */
  const profile = flags.profile ?? null;
  const kinds = profile !== null ? (["saturation"] as const) : only === null ? KINDS : [only];
  const env = Object.fromEntries(flags.env?.split(",").map((setting) => setting.split("=", 2)) ?? []);
  return {
    isQuick,
    /** The length of a window at saturation and with a dashboard. */
    seconds: readWholeNumber(flags, "seconds", { usual: isQuick ? 2 : 5, most: 20 }),
    stepSeconds: isQuick ? 2 : 3,
    rounds: isQuick || profile !== null ? 1 : 3,
    /** Each player is another user. */
    players: readWholeNumber(flags, "connections", { usual: isQuick ? 2000 : 4000, most: 9000 }),
    shape: SHAPE,
    acks: readChoice(flags, "acks", ACKS, ACKS[0]),
    workers: isQuick ? [1, 2] : [1, 2, 4],
    env: env as Record<string, string>,
    nodeFlags: flags.node?.split(" ") ?? [],
    profile,
    kinds: new Set<(typeof KINDS)[number]>(kinds),
    isPartial: kinds.length < KINDS.length,
  };
}
