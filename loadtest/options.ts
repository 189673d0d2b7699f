import { parseArgs } from "node:util";

/** How much is measured, and for how long. Bounded in any case: see TIME_LIMIT_SECONDS. */
export interface LoadOptions {
  /** Of each measured window at saturation, in seconds; there are two, and one of the same length at half the rate. */
  seconds: number;
  /** Players at saturation, each a user of its own with one heartbeat in flight. */
  connections: number;
  idleConnections: number;
  users: number;
  files: number;
  courses: number;
  writers: number;
  explain: boolean;
  /** Where the figures go as JSON. */
  json: string | null;
  /** Where the server's CPU profile goes; then the peers and the idle connections are left out. */
  profile: string | null;
  /** Flags of Node for the server, such as `--max-semi-space-size=64`. */
  nodeFlags: string[];
}

export const TIME_LIMIT_SECONDS = 240;
const MAX_CONNECTIONS = 9000;

export const USAGE = `npm run loadtest [-- options]           the server, through its sockets
npm run loadtest -- writer [options]    the writer alone against a bare batch
  --seconds N       length of a measured window (default 8)
  --connections N   players at saturation (default 3000)
  --idle N          idle connections whose memory is measured (default 5000)
  --courses N       courses the load is spread over (default 20)
  --files N         files a course (default 20)
  --users N         users of the writer's benchmark (default 20000)
  --writers N       WRITERS of the server (default 2)
  --quick           a look in about half a minute; its figures are rough
  --json FILE       the figures as JSON too
  --profile DIR     a CPU profile of the server under load, nothing else
  --node FLAGS      flags of Node for the server, as --node=--max-semi-space-size=64
  --explain         with writer: EXPLAIN ANALYZE of one batch a phase`;

/** @throws Error naming the flag that is wrong */
export function parseOptions(args: string[]): { command: string; options: LoadOptions } {
  const text = { type: "string" } as const;
  const { values, positionals } = parseArgs({
    args,
    allowPositionals: true,
    options: {
      seconds: text,
      connections: text,
      idle: text,
      courses: text,
      files: text,
      users: text,
      writers: text,
      json: text,
      profile: text,
      node: text,
      quick: { type: "boolean", default: false },
      explain: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  const quick = values.quick;
  const numberOf = (
    name: "seconds" | "connections" | "idle" | "courses" | "files" | "users" | "writers",
    usual: number,
    most: number,
  ) => {
    const value = values[name] === undefined ? usual : Number(values[name]);
    if (!Number.isInteger(value) || value < 1 || value > most) {
      throw new Error(`--${name}: got ${values[name]}; expected a whole number from 1 to ${most}`);
    }
    return value;
  };
  return {
    command: values.help ? "help" : (positionals[0] ?? "server"),
    options: {
      seconds: numberOf("seconds", quick ? 3 : 8, 20),
      connections: numberOf("connections", quick ? 1000 : 3000, MAX_CONNECTIONS),
      idleConnections: numberOf("idle", quick ? 1000 : 5000, MAX_CONNECTIONS),
      courses: numberOf("courses", 20, 1000),
      files: numberOf("files", 20, 1000),
      users: numberOf("users", 20_000, 1_000_000),
      writers: numberOf("writers", 2, 16),
      explain: values.explain,
      json: values.json ?? null,
      profile: values.profile ?? null,
      nodeFlags: values.node?.split(" ") ?? [],
    },
  };
}
