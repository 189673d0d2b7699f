import { resolve } from "node:path";
import { z } from "zod";
import { ROLES } from "./protocol/roles.ts";
import { MAX_RECONNECT_SECONDS } from "./protocol/stream.ts";

/*
 * The configuration, read once from the environment. docs/configuration.md is generated from this schema
 * (`npm run docs:configuration`), and a test compares the two. Only main.ts reads process.env, and passes it here.
 */

const HOUR_SECONDS = 3600;

const whole = (min: number, max: number) => z.coerce.number().int().min(min).max(max);
const Port = whole(0, 65_535);
const Millis = whole(0, 3_600_000);
const Count = whole(1, 1_000_000);
const Flag = z.enum(["true", "false"]).transform((text) => text === "true");
const Seconds = whole(1, 7 * 24 * HOUR_SECONDS);
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

/** An origin as browsers write it: lower case, without the default port and without a path; or `*`. */
const Origin = z.string().transform((text, context) => {
  if (text === "*") return text;
  const url = /^https?:\/\/[^\s/*?#@]+\/?$/i.test(text) && URL.canParse(text) ? new URL(text) : null;
  if (url !== null) return url.origin;
  context.addIssue({
    code: "custom",
    message: `${JSON.stringify(text)} is no origin; expected entries such as https://app.example.org, separated by commas, or * for all. An origin has a scheme and no path, and no part of it is a wildcard`,
  });
  return z.NEVER;
});

/** What IRIs begin with, without a slash at the end. */
const IriBase = z
  .url({ protocol: /^https?$/, error: "expected a URL such as https://learn.example.org" })
  .transform((text) => text.replace(/\/+$/, ""));

const LrsUrl = z
  .url({ protocol: /^https?$/, error: "expected a URL such as https://lrs.example.org/xapi" })
  .refine((text) => !URL.canParse(text) || (new URL(text).search === "" && new URL(text).hash === ""), {
    error: "expected a URL without a query: /statements is appended to it",
  })
  .refine((text) => !URL.canParse(text) || isDecodable(new URL(text)), {
    error: "expected a user and a password in which % is written as %25",
  });

function isDecodable({ username, password }: URL): boolean {
  try {
    return decodeURIComponent(username + password) !== null;
  } catch {
    return false;
  }
}

/**
 * Where the server's own addresses begin. It answers with and without PUBLIC_PATH, so with a path that one of them begins
 * with, or the other way round, an address would have two meanings.
 */
const OWN_ADDRESSES = [
  ...["/v1", "/learn/api", "/socket.io", "/healthz", "/readyz", "/metrics", "/openapi.json", "/asyncapi.json", "/docs"],
  ...["/watch", "/index.html", "/watch.html", "/docs.html", "/assets", "/client", "/favicon.svg", "/clip.webm"],
];

/** `/progress`: with a slash in front and none at the end. Empty for `/`. */
const PublicPath = z.string().transform((text, context) => {
  if (text === "/") return "";
  const parts = /^\/?([\w.~-]+(?:\/[\w.~-]+)*)\/?$/.exec(text)?.[1]?.split("/") ?? ["."];
  const path = `/${parts.join("/")}`;
  const own = OWN_ADDRESSES.find((address) => `${address}/`.startsWith(`${path}/`) || path.startsWith(`${address}/`));
  if (own === undefined && !parts.some((part) => part === "." || part === "..")) return path;
  context.addIssue({
    code: "custom",
    message:
      own === undefined
        ? "expected a path such as /progress: letters, digits and - . _ ~ between single slashes, no part . or .., and no scheme, host or query"
        : `expected a path apart from the server's own addresses, such as /progress; ${own} is one of them`,
  });
  return z.NEVER;
});

/** The variables, each with its purpose, unit and default. */
export const VARIABLES = {
  PORT: Port.default(8080).describe("The port to listen on, for sockets, HTTP and pages alike. 0 takes a free port."),
  HOST: z.string().min(1).default("127.0.0.1").describe("The address to listen on."),
  PUBLIC_PATH: PublicPath.default("").describe(
    "The path below which a proxy shows the server, such as `/progress`. Pages, HTTP and sockets are then answered below it, and without it as well. So it does not matter whether the proxy takes the path away, and probes need no path. `/metrics` is answered without it only.",
  ),
  DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: "expected a URL such as postgres://user:password@host:5432/name" })
    .optional()
    .describe(
      "The database, PostgreSQL 18 or newer. Without it an embedded PostgreSQL runs, with its data under `PLAYHEAD_DATA_DIR`.",
    ),
  DB_HOST: z.string().optional().describe("The database's host, where `DATABASE_URL` is not set. Needs `DB_NAME`."),
  DB_PORT: whole(1, 65_535).default(5432).describe("The database's port, with `DB_HOST`."),
  DB_NAME: z.string().optional().describe("The database's name, with `DB_HOST`."),
  DB_USER: z.string().default("postgres").describe("The database's user, with `DB_HOST`."),
  DB_PASSWORD: z.string().optional().describe("The user's password, with `DB_HOST`."),
  LISTEN_DATABASE_URL: z
    .url({ protocol: /^postgres(ql)?$/, error: "expected a URL such as postgres://user:password@host:5432/name" })
    .optional()
    .describe("A direct connection for LISTEN. Needed if `DATABASE_URL` goes through a pooler in transaction mode."),
  REDIS_URL: List.pipe(z.array(z.url({ protocol: /^rediss?$/, error: "expected redis://user:password@host:6379" })))
    .default([])
    .describe(
      "Redis, for several processes that share a database: by its pub/sub they tell each other which rows changed and who watches. For a cluster name one or several of its nodes, comma-separated. Without Redis a process runs alone.",
    ),
  REDIS_PREFIX: z
    .string()
    .min(1)
    .max(64)
    .default("playhead")
    .describe("The prefix of every channel and key in Redis, so that several installations can share one Redis."),
  FIREBASE_PROJECT_ID: z
    .string()
    .regex(/^[a-z0-9.:-]+$/, { error: "expected a project's id such as my-app-1a2b3" })
    .optional()
    .describe(
      "The Firebase project whose ID tokens are accepted, besides built-in tokens. Credentials are looked for where Google's libraries look for them (`GOOGLE_APPLICATION_CREDENTIALS`, or the machine's own).",
    ),
  FIREBASE_CHECK_REVOKED: Flag.default(true).describe(
    "Whether Firebase is asked, at most once a minute per user, if the user was disabled or its tokens were revoked. Needs credentials. Without them the check is left out, and the log says so at the start.",
  ),
  GOOGLE_APPLICATION_CREDENTIALS: z
    .string()
    .min(1)
    .optional()
    .describe("Google's own variable: the path of a service account's key, or of credentials of another kind."),
  FIREBASE_AUTH_EMULATOR_HOST: z
    .string()
    .min(1)
    .optional()
    .describe(
      "Firebase's own variable. Refused together with `FIREBASE_PROJECT_ID`, because unsigned tokens would then be accepted.",
    ),
  FIRESTORE_MIRROR: Flag.default(false).describe(
    "Whether progress is mirrored to Firestore, in the project `FIREBASE_PROJECT_ID`, as a backup. Set it for all processes on a database, or for none of them.",
  ),
  FIRESTORE_MIRROR_INTERVAL_MS: whole(100, 3_600_000)
    .default(30_000)
    .describe(
      "The shortest time between two writes of the mirror, in ms. A row that changes several times in between is written, and paid for, once.",
    ),
  PLAYHEAD_DATA_DIR: z
    .string()
    .min(1)
    .default(".playhead")
    .transform((path) => resolve(path))
    .describe("The folder for the data of the embedded PostgreSQL, and for the secret of built-in tokens."),
  AUTH_SECRET: z
    .string()
    .min(32)
    .optional()
    .describe(
      "The secret that signs built-in tokens (HS256), at least 32 characters. Without it a secret is made, and kept in the data folder (embedded PostgreSQL) or in the database.",
    ),
  BUILTIN_ACCOUNTS: Flag.default(true).describe(
    "Whether `POST /v1/auth/register` and `/login` are open. If they are closed, set `FIREBASE_PROJECT_ID`, or an `AUTH_SECRET` with which a backend of yours signs tokens. Tokens signed with the secret are valid in both cases.",
  ),
  TOKEN_TTL_SECONDS: whole(10, 365 * 24 * HOUR_SECONDS)
    .default(12 * HOUR_SECONDS)
    .describe("How long a built-in token is valid, in seconds."),
  DEMO: Flag.optional().describe(
    "Whether there are a demo course and demo accounts that sign in with one click. By default only with the embedded PostgreSQL.",
  ),
  ALLOWED_ORIGINS: List.pipe(z.array(Origin))
    .default([])
    .describe(
      "Comma-separated origins (`https://app.example.org`) whose pages may connect and call. The server's own origin always may. A client that sends no Origin is not a browser; only its token counts. `*` allows all origins.",
    ),
  SOCKET_TRANSPORTS: List.pipe(z.array(z.enum(["websocket", "polling"])).min(1))
    .default(["websocket"])
    .describe("Socket.IO transports, comma-separated. Long polling needs a balancer with sticky sessions."),
  TRUST_PROXY: Flag.default(false).describe(
    "Whether the client's address is read from the last entry of `X-Forwarded-For`. Set it only behind a proxy that adds this header.",
  ),
  LOG_LEVEL: z
    .enum(["fatal", "error", "warn", "info", "debug", "trace", "silent"])
    .default("warn")
    .describe("The lowest level that is logged. Logs are JSON lines on standard error."),
  RTMP_SECRETS: List.default([]).describe(
    "Comma-separated secrets. With any of them a media server may connect to `/rtmp`; with several secrets you can change them one by one. Without secrets no media server may connect.",
  ),
  HOOK_SECRETS: List.default([]).describe(
    "Comma-separated secrets for `/v1/hooks/…`. A secret written as `nginx-rtmp:…`, `srs:…`, `mediamtx:…` or `ovenmediaengine:…` is valid for that kind of media server only. Without secrets all hooks are refused.",
  ),
  HOOKS_PORT: z
    .union([z.literal("off"), Port], { error: "expected a port, 0 to 65535, or off" })
    .optional()
    .describe(
      "A second port, for `/v1/hooks/…` alone, which also takes HTTP/1.0, the only HTTP that nginx-rtmp speaks. By default 8088 if `HOOK_SECRETS` is set; 0 takes a free port. With `WORKERS` the first of them serves it.",
    ),
  NGINX_CONTROL_URLS: List.pipe(z.array(ControlUrl))
    .default([])
    .describe(
      "The addresses by which publishers of an nginx are ended: comma-separated `<server>=<url of its rtmp_control>`, with the server's name as its hooks send it. Without it a publisher with a revoked key is ended at its next `on_update`.",
    ),
  STREAM_ROLES: List.pipe(z.array(z.enum(ROLES)).min(1))
    .default([...ROLES])
    .describe("The roles whose users may have streams of their own, comma-separated."),
  MAX_STREAMS_PER_USER: Count.default(10).describe("How many streams one user may have."),
  STREAM_LEASE_SECONDS: Seconds.default(30).describe(
    "How long a stream counts as live without a report of its media server, in seconds. Media servers should report three times as often.",
  ),
  STREAM_SILENT_LEASE_SECONDS: Seconds.default(12 * HOUR_SECONDS).describe(
    "The same for media servers that report a publisher's start and end but nothing in between, in seconds.",
  ),
  STREAM_RECONNECT_SECONDS: whole(0, MAX_RECONNECT_SECONDS)
    .default(60)
    .describe(
      "How long a stream waits for its encoder to come back before it ends, in seconds, unless the stream sets its own time.",
    ),
  XAPI: Flag.default(true).describe(
    "Whether statements of the xAPI Video Profile are written: `GET /v1/xapi/statements`, and `LRS_URL`.",
  ),
  XAPI_BASE: IriBase.default("https://playhead.invalid").describe(
    "What the IRIs of files, lessons and courses in xAPI statements begin with, such as `https://learn.example.org`. They name things and need not lead anywhere. Choose it once: another base makes other activities.",
  ),
  XAPI_HOME_PAGE: IriBase.optional().describe(
    "The `homePage` of the accounts that xAPI statements name learners by, beside the user's id. By default `XAPI_BASE`.",
  ),
  XAPI_IDLE_SECONDS: whole(90, 24 * HOUR_SECONDS)
    .default(120)
    .describe(
      "After so long without progress a session of xAPI has ended, in seconds; at least after three heartbeats (`BEAT_INTERVAL_MS`).",
    ),
  XAPI_KEEP_DAYS: whole(1, 36_500)
    .default(400)
    .describe("How long xAPI statements are kept, in days. Those that wait for the learning record store stay."),
  LRS_URL: LrsUrl.optional().describe(
    "The xAPI endpoint of a learning record store, such as `https://lrs.example.org/xapi`: statements are sent to `<LRS_URL>/statements`. It may hold a user and a password.",
  ),
  LRS_AUTH: z
    .string()
    .regex(/^(Basic \S+|Bearer \S+|[^\s:]+:.*)$/, {
      error: "expected user:password, or a whole header such as Bearer abc",
    })
    .optional()
    .describe(
      "How the learning record store is signed in to: `user:password` for HTTP Basic, or a whole header, `Basic …` or `Bearer …`.",
    ),
  DATABASE_POOL_SIZE: Count.default(10).describe(
    "Connections to the database for reads, and for everything else except the heartbeat writers.",
  ),
  WORKERS: whole(1, 64)
    .default(1)
    .describe(
      "Processes that share the port, on Linux only. A process that dies is started again. Each process has `WRITERS` writers, `DATABASE_POOL_SIZE` connections and limits of its own.",
    ),
  WRITERS: whole(1, 16)
    .default(2)
    .describe(
      "Heartbeat writers, each with a connection and a share of the users. With two, one batch is prepared while the other is written; more writers make smaller batches.",
    ),
  FLUSH_INTERVAL_MS: Millis.default(50).describe("The shortest time between two flushes of one writer, in ms."),
  MAX_BATCH: Count.default(1000).describe("The most heartbeats that one flush writes."),
  MAX_PENDING: Count.default(50_000).describe(
    "How many heartbeats may wait in one process. Further heartbeats are refused as `overloaded`.",
  ),
  ACK_DEADLINE_MS: Millis.default(8000).describe(
    "How long a heartbeat may wait for the database before it is refused as `unavailable`, in ms.",
  ),
  QUERY_TIMEOUT_MS: Millis.default(5000).describe("How long one SQL statement may take, in ms."),
  BEAT_INTERVAL_MS: whole(1000, 120_000)
    .default(10_000)
    .describe("How often players are asked to send heartbeats, in ms. Raised under load."),
  FRAME_INTERVAL_MS: whole(20, 10_000)
    .default(250)
    .describe("The shortest time between two frames of one topic, in ms."),
  MAX_BACKPRESSURE_BYTES: whole(262_144, 67_108_864)
    .default(67_108_864)
    .describe(
      "How many bytes may wait for one slow socket. Past this limit uWebSockets.js drops messages, acks too. Frames and long answers wait for slow clients, so that only one answer that is longer reaches the limit.",
    ),
  RATE_LIMIT_BURST: Count.default(200).describe(
    "How many calls a user may make at once, over all its connections to one process.",
  ),
  RATE_LIMIT_PER_SECOND: Count.default(20).describe("How many calls per second a user may go on making."),
  MAX_CONNECTIONS_PER_USER: Count.default(50).describe("How many sockets a user may have open to one process."),
  SHUTDOWN_TIMEOUT_MS: Millis.default(25_000).describe(
    "How long a stop may take, in ms. After that the process exits in any case.",
  ),
  DRAIN_MS: Millis.default(1000).describe(
    "Over what time clients are told to spread their reconnects when the server stops, in ms.",
  ),
} as const;

const Environment = z.object(VARIABLES);
type Environment = z.infer<typeof Environment>;

export interface Config extends Environment {
  /** Whether the embedded PostgreSQL is used. */
  embedded: boolean;
  /** Whether the demo runs. */
  demo: boolean;
}

/** The configuration is wrong. The message lists every wrong variable, the value it got and the values it takes. */
export class ConfigError extends Error {
  constructor(problems: string[]) {
    super(`The configuration is wrong:\n${problems.map((problem) => `  ${problem}`).join("\n")}`);
    this.name = "ConfigError";
  }
}

/** Variables whose values no message may show. */
const SECRET_VARIABLES = new Set([
  "AUTH_SECRET",
  "DATABASE_URL",
  "DB_PASSWORD",
  "LISTEN_DATABASE_URL",
  "REDIS_URL",
  "RTMP_SECRETS",
  "HOOK_SECRETS",
  "NGINX_CONTROL_URLS",
  "LRS_URL",
  "LRS_AUTH",
]);

/**
 * Reads the configuration. An empty variable counts as not set.
 * @throws ConfigError that lists all wrong variables
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
  const DATABASE_URL = result.data.DATABASE_URL ?? databaseUrlOf(result.data);
  const embedded = DATABASE_URL === undefined;
  return { ...result.data, DATABASE_URL, embedded, demo: result.data.DEMO ?? embedded };
}

/** The database that `DB_HOST` and the variables beside it name; undefined where they name none. */
function databaseUrlOf({ DB_HOST, DB_PORT, DB_NAME, DB_USER, DB_PASSWORD }: Environment): string | undefined {
  if (DB_HOST === undefined || DB_NAME === undefined) return undefined;
  const user = [DB_USER, ...(DB_PASSWORD === undefined ? [] : [DB_PASSWORD])].map(encodeURIComponent).join(":");
  // A path is a folder with a socket: only the query of a URL can hold it.
  const isFolder = DB_HOST.startsWith("/");
  const host = isFolder ? "localhost" : DB_HOST.includes(":") ? `[${DB_HOST}]` : DB_HOST;
  const folder = isFolder ? `?host=${encodeURIComponent(DB_HOST)}` : "";
  return `postgres://${user}@${host}:${DB_PORT}/${encodeURIComponent(DB_NAME)}${folder}`;
}

/** Describes values that are wrong only together with others. */
function findContradictions(given: Environment): string[] {
  const problems: string[] = [];
  if (given.PORT !== 0 && given.HOOKS_PORT === given.PORT) {
    problems.push(`HOOKS_PORT: got "${given.PORT}", which is PORT; it wants another port, or off`);
  }
  if (given.DATABASE_URL === undefined && (given.DB_HOST === undefined) !== (given.DB_NAME === undefined)) {
    const [missing, set] = given.DB_HOST === undefined ? ["DB_HOST", "DB_NAME"] : ["DB_NAME", "DB_HOST"];
    problems.push(`${missing}: is not set, and ${set} is; they name a database together. Or set DATABASE_URL instead`);
  }
  if (!given.XAPI && given.LRS_URL !== undefined) problems.push('XAPI: got "false"; LRS_URL needs it');
  if (given.LRS_AUTH !== undefined && given.LRS_URL === undefined) problems.push("LRS_AUTH: needs LRS_URL");
  if (given.FIREBASE_PROJECT_ID === undefined) {
    if (given.FIRESTORE_MIRROR) problems.push('FIRESTORE_MIRROR: got "true"; it needs FIREBASE_PROJECT_ID');
    // With the secret, a backend of the operator's own can sign tokens.
    if (!given.BUILTIN_ACCOUNTS && given.AUTH_SECRET === undefined) {
      problems.push(
        'BUILTIN_ACCOUNTS: got "false"; nobody could sign in: set FIREBASE_PROJECT_ID, or AUTH_SECRET if a backend of yours signs tokens',
      );
    }
  } else if (given.FIREBASE_AUTH_EMULATOR_HOST !== undefined) {
    problems.push(
      `FIREBASE_AUTH_EMULATOR_HOST: got ${JSON.stringify(given.FIREBASE_AUTH_EMULATOR_HOST)}; it is refused together with FIREBASE_PROJECT_ID, because unsigned tokens would then be accepted`,
    );
  }
  return problems;
}
