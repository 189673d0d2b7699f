import { type Command, Option } from "commander";
import type { Config } from "../config.ts";
import { createPool } from "../db/pool.ts";
import type { Logger } from "../logger.ts";
import {
  MAX_GRACE_SECONDS,
  MAX_RECONNECT_SECONDS,
  type OwnStream,
  SESSION_POLICIES,
  type SessionPolicy,
  type StreamSession,
} from "../protocol/stream.ts";
import { createStreamService } from "../streams/create-stream-service.ts";
import type { NewKey, StreamService } from "../streams/stream-service.ts";
import { assertMigrated, withCommandDatabase } from "./command-database.ts";
import { parseExpiry, parseId, parseTitle, secondsUpTo } from "./option-parsers.ts";
import { toPlainText, toTable } from "./text-table.ts";

/*
 * `playhead streams …`: streams as an operator keeps them, straight in the database. A running server hears of every
 * change by notification, as of any other writer's.
 */

const ROWS_A_PAGE = 200;
const SWITCHES = [
  ["revoke", "end the key for good: what is live is cut, and only rotate brings the stream back"],
  ["disable", "refuse the key until enable: what is live is cut"],
  ["enable", "take the key again after disable"],
] as const;

export interface StreamCommandParts {
  readSetting(): { config: Config; logger: Logger };
  /** What was asked for. */
  print(line: string): void;
  /** What a person should know beside it. */
  note(line: string): void;
}

interface CreateOptions {
  user: string;
  title: string;
  expires?: string;
  policy?: SessionPolicy;
  reconnect?: number;
  json?: true;
}

type WithStreams = (work: (streams: StreamService) => Promise<void>) => Promise<void>;

/** Adds `streams` and its commands. */
export function addStreamCommands(program: Command, parts: StreamCommandParts): void {
  const streams = program.command("streams").description("keep stream keys, and look at what was published with them");
  const withStreams: WithStreams = (work) => openStreams(parts, work);
  addCreate(streams, parts, withStreams);
  addList(streams, parts, withStreams);
  addRotate(streams, parts, withStreams);
  addSwitches(streams, parts, withStreams);
  addSessions(streams, parts, withStreams);
}

async function openStreams(
  { readSetting }: StreamCommandParts,
  work: (streams: StreamService) => Promise<void>,
): Promise<void> {
  const setting = readSetting();
  const { config, logger } = setting;
  await withCommandDatabase(setting, async ({ url }) => {
    const pool = createPool({
      connectionString: url,
      max: 1,
      queryTimeoutMs: config.QUERY_TIMEOUT_MS,
      applicationName: "playhead-streams",
      logger,
    });
    try {
      await assertMigrated(pool);
      await work(
        createStreamService(
          { pool },
          {
            maxStreamsPerUser: config.MAX_STREAMS_PER_USER,
            defaultReconnectSeconds: config.STREAM_RECONNECT_SECONDS,
          },
        ),
      );
    } finally {
      await pool.end();
    }
  });
}

function addCreate(command: Command, parts: StreamCommandParts, withStreams: WithStreams): void {
  command
    .command("create")
    .description("make a stream, and print its id and its key: the key this once")
    .requiredOption("--user <id>", "whose stream it is to be", parseId)
    .requiredOption("--title <text>", "what people see it as", parseTitle)
    .option("--expires <when>", "when the key ends: 2027-01-31T18:00:00Z, or 24h, 7d (default: never)", parseExpiry)
    .addOption(
      new Option("--policy <policy>", "what a second encoder meets (default: first_wins)").choices(SESSION_POLICIES),
    )
    .option(
      "--reconnect <seconds>",
      "how long it waits for its encoder to come back (default: STREAM_RECONNECT_SECONDS)",
      secondsUpTo(MAX_RECONNECT_SECONDS),
    )
    .option("--json", "print one JSON object")
    .action(({ user, title, expires, policy, reconnect, json }: CreateOptions) =>
      withStreams(async (streams) => {
        const made = await streams.create({
          userId: user,
          title,
          ...(expires === undefined ? {} : { expiresAt: expires }),
          ...(policy === undefined ? {} : { policy }),
          ...(reconnect === undefined ? {} : { reconnectWindowSeconds: reconnect }),
        });
        printKey(parts, made, json);
      }),
    );
}

function addRotate(command: Command, parts: StreamCommandParts, withStreams: WithStreams): void {
  command
    .command("rotate")
    .description("give a stream a new key, and print it this once; what is live goes on")
    .argument("<id>", "the stream's id", parseId)
    .option("--grace <seconds>", "how long the old key is still taken", secondsUpTo(MAX_GRACE_SECONDS), 0)
    .option("--json", "print one JSON object")
    .action((id: string, { grace, json }: { grace: number; json?: true }) =>
      withStreams(async (streams) => {
        printKey(parts, await streams.rotate(id, grace), json);
      }),
    );
}

/** Both forms have the key where a script finds it: the second line, or `streamKey`. */
function printKey({ print, note }: StreamCommandParts, { stream, streamKey }: NewKey, json?: true): void {
  if (json) print(JSON.stringify({ stream, streamKey }));
  else {
    print(`stream ${toPlainText(stream.id)}`);
    print(`key ${streamKey}`);
  }
  note("Keep the key: it is not shown again. Who loses it rotates.");
  if (stream.status === "expired" || stream.status === "disabled") {
    note(`The stream is ${stream.status}: the new key is refused as the old one was.`);
  }
}

function addList(command: Command, { print }: StreamCommandParts, withStreams: WithStreams): void {
  command
    .command("list")
    .description("list streams; of a key only the first characters")
    .option("--user <id>", "whose streams (default: everybody's)", parseId)
    .option("--json", "print one JSON object")
    .action(({ user, json }: { user?: string; json?: true }) =>
      withStreams(async (streams) => {
        const found = await readAll<OwnStream>((last) =>
          streams.list({
            limit: ROWS_A_PAGE,
            ...(last === undefined ? {} : { after: last.id }),
            ...(user === undefined ? {} : { userId: user }),
          }),
        );
        if (json) print(JSON.stringify({ streams: found }));
        else for (const line of toTable(STREAM_HEADINGS, found.map(toStreamRow))) print(line);
      }),
    );
}

function addSwitches(command: Command, { print }: StreamCommandParts, withStreams: WithStreams): void {
  for (const [verb, description] of SWITCHES) {
    command
      .command(verb)
      .description(description)
      .argument("<id>", "the stream's id", parseId)
      .action((id: string) =>
        withStreams(async (streams) => {
          const stream = await streams[verb](id);
          print(`stream ${toPlainText(stream.id)} is ${stream.status}`);
        }),
      );
  }
}

function addSessions(command: Command, { print }: StreamCommandParts, withStreams: WithStreams): void {
  command
    .command("sessions")
    .description("list what was published to a stream, the newest first")
    .argument("<id>", "the stream's id", parseId)
    .option("--json", "print one JSON object")
    .action((id: string, { json }: { json?: true }) =>
      withStreams(async (streams) => {
        await streams.get(id); // a stream that is not there has no history either
        const found = await readAll<StreamSession>((last) =>
          streams.sessions(id, { limit: ROWS_A_PAGE, ...(last === undefined ? {} : { before: last.id }) }),
        );
        if (json) print(JSON.stringify({ sessions: found }));
        else for (const line of toTable(SESSION_HEADINGS, found.map(toSessionRow))) print(line);
      }),
    );
}

async function readAll<Row>(readPage: (last: Row | undefined) => Promise<Row[]>): Promise<Row[]> {
  const all: Row[] = [];
  for (;;) {
    const page = await readPage(all.at(-1));
    all.push(...page);
    if (page.length < ROWS_A_PAGE) return all;
  }
}

const STREAM_HEADINGS = ["ID", "USER", "TITLE", "STATUS", "KEY", "EXPIRES"];

function toStreamRow({ id, userId, title, status, keyPrefix, expiresAt }: OwnStream): string[] {
  return [id, userId, title, status, `${keyPrefix}…`, toTime(expiresAt, "never")];
}

const SESSION_HEADINGS = [
  "STARTED",
  "ENDED",
  "SECONDS",
  "STATE",
  "REASON",
  "SERVER",
  "FROM",
  "CONNECTED",
  "PEAK",
  "KBIT/S",
];

function toSessionRow(session: StreamSession): string[] {
  const { startedAt, endedAt, durationSeconds, state, endReason, server, clientIp, connections } = session;
  return [
    toTime(startedAt),
    toTime(endedAt),
    durationSeconds?.toFixed(0) ?? "-",
    state,
    endReason ?? "-",
    server,
    clientIp ?? "-",
    String(connections),
    session.peakViewers?.toString() ?? "-",
    session.meanBitrateKbps?.toString() ?? "-",
  ];
}

/** To the second, which is what people look for. */
function toTime(at: string | null, otherwise = "-"): string {
  return at === null ? otherwise : at.replace(/\.\d+Z$/, "Z");
}
