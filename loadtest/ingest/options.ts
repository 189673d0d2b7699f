import { readChoice, readWholeNumber } from "../harness/flags.ts";
import type { Run, Subcommand } from "../harness/section.ts";

/** What a run measures; one of them alone is for tuning. */
export const PARTS = ["saturation", "offered", "watched", "sockets"] as const;
export type Part = (typeof PARTS)[number];

export interface IngestOptions {
  /** Of each measured window at saturation and with a dashboard, in seconds. */
  seconds: number;
  /** How often all contenders are measured in turn. */
  rounds: number;
  /** Of each step of the offered load, in seconds. */
  stepSeconds: number;
  /** Players, each a user of its own. */
  connections: number;
  shape: { courses: number; files: number };
  workers: number[];
  /** WRITERS; undefined is the server's default. */
  writers: number | undefined;
  /** Of the server. */
  nodeFlags: string[];
  /** Where the server's CPU profile goes; then nothing but its load is run. */
  profile: string | null;
  parts: ReadonlySet<Part>;
}

/**
 * At 10,000 heartbeats a second a course then has those of 1,700 learners at one every ten seconds. With many more a topic
 * is full: four frames a second of 64 KB have room for some 450 changes.
 */
const COURSES = 60;

export const FLAGS: Subcommand["flags"] = {
  "--seconds N": "length of a measured window (default 5)",
  "--connections N": "players (default 4000)",
  "--courses N": "courses the load is spread over (default 60)",
  "--files N": "files a course (default 20)",
  "--writers N": "WRITERS of the server (default: the server's own)",
  "--node FLAGS": "flags of Node for the server, as --node=--max-semi-space-size=64",
  "--only PART": `one part alone, for tuning: ${PARTS.join(", ")}`,
  "--profile DIR": "a CPU profile of the server under load, nothing else",
};

/** @throws FlagError */
export function readOptions({ isQuick, flags }: Pick<Run, "isQuick" | "flags">): IngestOptions {
  const only = flags.only === undefined ? null : readChoice(flags, "only", PARTS, "saturation");
  const workers = isQuick ? [1, 2] : [1, 2, 4];
  return {
    seconds: readWholeNumber(flags, "seconds", { usual: isQuick ? 2 : 5, most: 20 }),
    rounds: isQuick ? 1 : 3,
    stepSeconds: isQuick ? 2 : 3,
    connections: readWholeNumber(flags, "connections", { usual: isQuick ? 2000 : 4000, most: 9000 }),
    shape: {
      courses: readWholeNumber(flags, "courses", { usual: COURSES, most: 1000 }),
      files: readWholeNumber(flags, "files", { usual: 20, most: 1000 }),
    },
    workers,
    writers: flags.writers === undefined ? undefined : readWholeNumber(flags, "writers", { usual: 2, most: 16 }),
    nodeFlags: flags.node?.split(" ") ?? [],
    profile: flags.profile ?? null,
    parts: new Set(only === null ? PARTS : [only]),
  };
}
