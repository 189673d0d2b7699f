import { resolve } from "node:path";
import { z } from "zod";
import { ROLES } from "./protocol/roles.ts";
import { MAX_RECONNECT_SECONDS } from "./protocol/stream.ts";

/*
 * Everything that can be set, read once from the environment. docs/configuration.md is generated from this
 * schema (`npm run docs:configuration`), a test holds the page to it. This is the only reader of process.env.
 */

const HOUR_SECONDS = 3600;

const Port = z.coerce.number().int().min(0).max(65_535);
const Millis = z.coerce.number().int().min(0).max(3_600_000);
const Count = z.coerce.number().int().min(1).max(1_000_000);
const Flag = z.enum(["true", "false"]).transform((text) => text === "true");
const Seconds = z.coerce
  .number()
  .int()
  .min(1)
  .max(7 * 24 * HOUR_SECONDS);
const List = z.string().transform((text) =>
  text
    .split(",")
    .map((part) => part.trim())
    .filter((part) => part !== ""),
);

/** `<server>=<url>` */
const ControlUrl = z.string().transform((text, context) => {
  const at = text.indexOf("=");
  const url = text.slice(at + 1);
  if (at > 0 && URL.canParse(url) && /^https?:/.test(url)) return { server: text.slice(0, at).trim(), url };
  context.addIssue({ code: "custom", message: "expected entries such as ingest-1=http://127.0.0.1:8081/control" });
  return z.NEVER;
});

/** One entry a variable: purpose, unit and default. */
export const VARIABLES = {
  PORT: Port.default(8080).describe("The port to listen on, for sockets, HTTP and pages alike. 0 takes a free one."),
  HOST: z.string().min(1).default("127.0.0.1").describe("The address to listen on."),
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: "expected a URL such as postgres://user:password@host:5432/name" })
    .optional()
    .describe("PostgreSQL 18 or newer. Without it an embedded PostgreSQL runs, its data under `PLAYHEAD_DATA_DIR`."),
  LISTEN_DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: "expected a URL such as postgres://user:password@host:5432/name" })
    .optional()
    .describe("A direct connection for LISTEN, where `DATABASE_URL` goes through a pooler in transaction mode."),
  REDIS_URL: List.pipe(z.array(z.url({ protocol: /^rediss?$/, error: "expected redis://user:password@host:6379" })))
    .default([])
    .describe(
      "Redis, for several processes that share a database: what changes, and who watches, goes from one to the others by its pub/sub. Of a cluster any of its nodes, or several, comma-separated. Without it a process is alone.",
    ),
  REDIS_PREFIX: z
    .string()
    .min(1)
    .max(64)
    .default("playhead")
    .describe("Stands before every channel and key in Redis, so that several installations may share one."),
  FIREBASE_PROJECT_ID: z
    .string()
    .regex(/^[a-z0-9.:-]+$/, { error: "expected a project's id such as my-app-1a2b3" })
    .optional()
    .describe(
      "The Firebase project. Its users' ID tokens are then taken, beside built-in ones. Credentials are found as Google's libraries find them (`GOOGLE_APPLICATION_CREDENTIALS`, or the machine's own).",
    ),
  FIREBASE_CHECK_REVOKED: Flag.default(true).describe(
    "Whether Firebase is asked, once a minute per user at the most, if the user was disabled or its tokens revoked. Needs credentials; without any it is left out, and the log says so at the start.",
  ),
  GOOGLE_APPLICATION_CREDENTIALS: z
    .string()
    .min(1)
    .optional()
    .describe("Google's own variable: the path of a service account's key, or of another kind of credentials."),
  FIREBASE_AUTH_EMULATOR_HOST: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Firebase's own variable, refused beside `FIREBASE_PROJECT_ID`: with it anybody's unsigned tokens would do.",
    ),
  FIRESTORE_MIRROR: Flag.default(false).describe(
    "Whether progress is mirrored to Firestore, in the project `FIREBASE_PROJECT_ID`, as a backup. Set it for all processes on a database, or for none.",
  ),
  FIRESTORE_MIRROR_INTERVAL_MS: z.coerce
    .number()
    .int()
    .min(100)
    .max(3_600_000)
    .default(30_000)
    .describe(
      "The shortest time between two writes of the mirror, in ms: what changes more often meanwhile is written once, and paid for once.",
    ),
  PLAYHEAD_DATA_DIR: z
    .string()
    .min(1)
    .default(".playhead")
    .transform((path) => resolve(path))
    .describe("Where the embedded PostgreSQL keeps its data, and the secret of built-in tokens."),
  AUTH_SECRET: z
    .string()
    .min(32)
    .optional()
    .describe(
      "Signs built-in tokens (HS256), at least 32 characters. Without it one is made, and kept in the data folder (embedded) or in the database.",
    ),
  BUILTIN_ACCOUNTS: Flag.default(true).describe(
    "Whether `POST /v1/auth/register` and `/login` are open. Without them it takes `FIREBASE_PROJECT_ID`, or an `AUTH_SECRET` that a backend of yours signs tokens with. Tokens signed with the secret are valid either way.",
  ),
  TOKEN_TTL_SECONDS: z.coerce
    .number()
    .int()
    .min(10)
    .max(365 * 24 * HOUR_SECONDS)
    .default(12 * HOUR_SECONDS)
    .describe("How long a built-in token is valid, in seconds."),
  DEMO: Flag.optional().describe(
    "Whether the demo course and the one-click demo accounts are there. By default only with the embedded PostgreSQL.",
  ),
  ALLOWED_ORIGINS: List.default([]).describe(
    "Comma-separated origins (`https://app.example.org`) whose pages may connect and call. The server's own origin always may; clients that send no Origin are not browsers and are judged by their token alone. `*` allows all.",
  ),
  SOCKET_TRANSPORTS: List.pipe(z.array(z.enum(["websocket", "polling"])).min(1))
    .default(["websocket"])
    .describe("Socket.IO transports, comma-separated. Long polling needs a balancer with sticky sessions."),
  TRUST_PROXY: Flag.default(false).describe(
    "Whether the client's address is read from the last entry of `X-Forwarded-For`. Only behind a proxy that sets it.",
  ),
  LOG_LEVEL: z
    .enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"])
    .default("warn")
    .describe("Logs are JSON lines on standard error."),
  RTMP_SECRETS: List.default([]).describe(
    "Comma-separated secrets, any of which lets a media server connect to `/rtmp`. Several at once, so that they can be changed one by one. Without any, nobody connects there.",
  ),
  HOOK_SECRETS: List.default([]).describe(
    "Comma-separated secrets for `/v1/hooks/…`; `nginx-rtmp:…`, `srs:…`, `mediamtx:…` or `ovenmediaengine:…` is good for that kind of server alone. Without any, hooks are refused.",
  ),
  NGINX_CONTROL_URLS: List.pipe(z.array(ControlUrl))
    .default([])
    .describe(
      "Where to end a publisher of an nginx: comma-separated `<server>=<url of its rtmp_control>`, the server as its hooks name it. Without it a revoked key is cut at the next `on_update`.",
    ),
  STREAM_ROLES: List.pipe(z.array(z.enum(ROLES)).min(1))
    .default([...ROLES])
    .describe("Who may have streams of its own, by role, comma-separated."),
  MAX_STREAMS_PER_USER: Count.default(10).describe("Streams one user may have."),
  STREAM_LEASE_SECONDS: Seconds.default(30).describe(
    "How long a stream counts as live without a report of its media server, in seconds. Servers should report three times as often.",
  ),
  STREAM_SILENT_LEASE_SECONDS: Seconds.default(12 * HOUR_SECONDS).describe(
    "The same where the media server reports a publisher's start and end and nothing between, in seconds.",
  ),
  STREAM_RECONNECT_SECONDS: z.coerce
    .number()
    .int()
    .min(0)
    .max(MAX_RECONNECT_SECONDS)
    .default(60)
    .describe("How long a stream waits for its encoder to come back before it has ended, in seconds, unless it says."),
  DATABASE_POOL_SIZE: Count.default(10).describe("Connections for reads and for everything but the heartbeat writers."),
  WORKERS: z.coerce
    .number()
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      "Processes that share the port, on Linux. One that dies is started again. Each has `WRITERS` writers, `DATABASE_POOL_SIZE` connections and limits of its own.",
    ),
  WRITERS: z.coerce
    .number()
    .int()
    .min(1)
    .max(16)
    .default(2)
    .describe(
      "Heartbeat writers, each with a connection and a share of the users. Two let one batch be prepared while another is written; more writers make smaller batches.",
    ),
  FLUSH_INTERVAL_MS: Millis.default(50).describe("The shortest time between two flushes of one writer, in ms."),
  MAX_BATCH: Count.default(1000).describe("Heartbeats in one statement at the most."),
  MAX_PENDING: Count.default(50_000).describe(
    "Heartbeats that may wait in one process; past it they are refused as `overloaded`.",
  ),
  ACK_DEADLINE_MS: Millis.default(8000).describe(
    "How long a heartbeat may wait for the database before it is refused as `unavailable`, in ms.",
  ),
  QUERY_TIMEOUT_MS: Millis.default(5000).describe("How long one statement may take, in ms."),
  BEAT_INTERVAL_MS: z.coerce
    .number()
    .int()
    .min(1000)
    .max(120_000)
    .default(10_000)
    .describe("The cadence the server asks of players, in ms; raised under load."),
  FRAME_INTERVAL_MS: z.coerce
    .number()
    .int()
    .min(20)
    .max(10_000)
    .default(250)
    .describe("The shortest time between two frames of one topic, in ms."),
  MAX_BACKPRESSURE_BYTES: z.coerce
    .number()
    .int()
    .min(262_144)
    .max(67_108_864)
    .default(1_048_576)
    .describe(
      "What may wait for one slow socket, in bytes. Past it uWebSockets.js drops messages; dashboards are served so that it is never reached.",
    ),
  RATE_LIMIT_BURST: Count.default(200).describe(
    "Calls a user may make at once, over all its connections to a process.",
  ),
  RATE_LIMIT_PER_SECOND: Count.default(20).describe("Calls a user may go on making, per second."),
  MAX_CONNECTIONS_PER_USER: Count.default(50).describe("Sockets a user may have open to one process."),
  SHUTDOWN_TIMEOUT_MS: Millis.default(25_000).describe(
    "How long a stop may take before the process exits all the same, in ms.",
  ),
  DRAIN_MS: Millis.default(1000).describe(
    "Over how long clients are told to spread their reconnects when the server stops, in ms.",
  ),
} as const;

const Environment = z.object(VARIABLES);
type Environment = z.infer<typeof Environment>;

export interface Config extends Environment {
  /** Whether PostgreSQL runs inside this installation. */
  embedded: boolean;
  demo: boolean;
}

/** The configuration is wrong; the message lists every variable, what it got and what it wants. */
export class ConfigError extends Error {
  constructor(problems: string[]) {
    super(`The configuration is wrong:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.name = "ConfigError";
  }
}

const SECRET_VARIABLES = new Set([
  "AUTH_SECRET",
  "DATABASE_URL",
  "LISTEN_DATABASE_URL",
  "REDIS_URL",
  "RTMP_SECRETS",
  "HOOK_SECRETS",
]);

/**
 * Reads the configuration. An empty variable counts as not set.
 * @throws ConfigError with every variable that is wrong, at once.
 */
export function loadConfig(environment: Record<string, string | undefined>): Config {
  const given = Object.fromEntries(
    Object.keys(VARIABLES)
      .map((name) => [name, environment[name]?.trim()] as const)
      .filter(([, value]) => value !== undefined && value !== ""),
  );
  const result = Environment.safeParse(given);
  if (!result.success) {
    const problems = result.error.issues.map((issue) => {
      const name = String(issue.path[0]);
      const got = SECRET_VARIABLES.has(name) ? "(not shown)" : JSON.stringify(given[name]);
      return `${name}: got ${got}; ${issue.message}`;
    });
    throw new ConfigError(problems);
  }
  const contradictions = findContradictions(result.data);
  if (contradictions.length > 0) throw new ConfigError(contradictions);
  const embedded = result.data.DATABASE_URL === undefined;
  return { ...result.data, embedded, demo: result.data.DEMO ?? embedded };
}

/** What is wrong only together with something else. */
function findContradictions(given: Environment): string[] {
  const problems: string[] = [];
  if (given.FIREBASE_PROJECT_ID === undefined) {
    if (given.FIRESTORE_MIRROR) problems.push('FIRESTORE_MIRROR: got "true"; it needs FIREBASE_PROJECT_ID');
    // A backend that has the secret signs tokens of its own.
    if (!given.BUILTIN_ACCOUNTS && given.AUTH_SECRET === undefined) {
      problems.push(
        'BUILTIN_ACCOUNTS: got "false"; nobody could sign in: set FIREBASE_PROJECT_ID, or AUTH_SECRET where a backend of yours signs tokens',
      );
    }
  } else if (given.FIREBASE_AUTH_EMULATOR_HOST !== undefined) {
    problems.push(
      `FIREBASE_AUTH_EMULATOR_HOST: got ${JSON.stringify(given.FIREBASE_AUTH_EMULATOR_HOST)}; beside FIREBASE_PROJECT_ID it is not taken: with it anybody's unsigned tokens would do`,
    );
  }
  return problems;
}
