import { type Command, Option } from "commander";
import {
  MAX_GRACE_SECONDS,
  MAX_RECONNECT_SECONDS,
  type OwnStream,
  SESSION_POLICIES,
  type SessionPolicy,
  type StreamSession,
} from "../protocol/stream.ts";
import { createStreamService, type NewKey, type StreamService } from "../streams/stream-service.ts";
import { withMigratedPool } from "./command-database.ts";
import type { CommandParts } from "./command-parts.ts";
import { parseExpiry, parseId, parseTitle, parseUserId, secondsUpTo } from "./option-parsers.ts";
import { toPlainText, toTable } from "./text-table.ts";

/*
 * `playhead streams …`: the commands by which an operator keeps streams. They write to the database; a running server
 * learns of every change by notification.
 */

const ROWS_A_PAGE = 200;
const SWITCHES = [
  ["revoke", "end the key for good: a live session is ended, and only rotate brings the stream back"],
  ["disable", "refuse the key until enable: a live session is ended"],
  ["enable", "accept the key again after disable"],
] as const;

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
export function addStreamCommands(program: Command, parts: CommandParts): void {
  const streams = program.command("streams").description("keep streams and their keys, and list what was published");
  const withStreams: WithStreams = (work) => openStreams(parts, work);
  addCreate(streams, parts, withStreams);
  addList(streams, parts, withStreams);
  addRotate(streams, parts, withStreams);
  addSwitches(streams, parts, withStreams);
  addSessions(streams, parts, withStreams);
}

async function openStreams(
  { readSetting }: CommandParts,
  work: (streams: StreamService) => Promise<void>,
): Promise<void> {
  const setting = readSetting();
  const { QUERY_TIMEOUT_MS, MAX_STREAMS_PER_USER, STREAM_RECONNECT_SECONDS } = setting.config;
  const options = { applicationName: "playhead-streams", max: 1, queryTimeoutMs: QUERY_TIMEOUT_MS };
  await withMigratedPool(setting, options, (pool) =>
    work(
      createStreamService(
        { pool },
        { maxStreamsPerUser: MAX_STREAMS_PER_USER, defaultReconnectSeconds: STREAM_RECONNECT_SECONDS },
      ),
    ),
  );
}

function addCreate(command: Command, parts: CommandParts, withStreams: WithStreams): void {
  command
    .command("create")
    .description("make a stream, and print its id and its key; the key is shown only this once")
    .requiredOption("--user <id>", "the stream's owner", parseUserId)
    .requiredOption("--title <text>", "the stream's title", parseTitle)
    .option("--expires <when>", "when the key ends: 2027-01-31T18:00:00Z, or 24h, 7d (default: never)", parseExpiry)
    .addOption(
      new Option(
        "--policy <policy>",
        "whether a second encoder is refused or takes over (default: first_wins)",
      ).choices(SESSION_POLICIES),
    )
    .option(
      "--reconnect <seconds>",
      "how long the stream waits for its encoder to come back (default: STREAM_RECONNECT_SECONDS)",
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

function addRotate(command: Command, parts: CommandParts, withStreams: WithStreams): void {
  command
    .command("rotate")
    .description("give a stream a new key, and print it, only this once; a live session goes on")
    .argument("<id>", "the stream's id", parseId)
    .option("--grace <seconds>", "how long the old key is still accepted", secondsUpTo(MAX_GRACE_SECONDS), 0)
    .option("--json", "print one JSON object")
    .action((id: string, { grace, json }: { grace: number; json?: true }) =>
      withStreams(async (streams) => {
        printKey(parts, await streams.rotate(id, grace), json);
      }),
    );
}

/** Prints the key in a place where a script finds it: on the second line, or as `streamKey`. */
function printKey({ print, note }: CommandParts, { stream, streamKey }: NewKey, json?: true): void {
  if (json) print(JSON.stringify({ stream, streamKey }));
  else {
    print(`stream ${toPlainText(stream.id)}`);
    print(`key ${streamKey}`);
  }
  note("Keep the key: it is not shown again. If it is lost, rotate the stream's key.");
  if (stream.status === "expired" || stream.status === "disabled") {
    note(`The stream is ${stream.status}: the new key is refused too.`);
  }
}

function addList(command: Command, { print }: CommandParts, withStreams: WithStreams): void {
  command
    .command("list")
    .description("list streams, with the first characters of their keys")
    .option("--user <id>", "list only the streams of this owner", parseId)
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

function addSwitches(command: Command, { print }: CommandParts, withStreams: WithStreams): void {
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

function addSessions(command: Command, { print }: CommandParts, withStreams: WithStreams): void {
  command
    .command("sessions")
    .description("list the sessions of a stream, the newest first")
    .argument("<id>", "the stream's id", parseId)
    .option("--json", "print one JSON object")
    .action((id: string, { json }: { json?: true }) =>
      withStreams(async (streams) => {
        await streams.get(id); // throws if there is no such stream
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

/** Cuts the fraction of the second. */
function toTime(at: string | null, otherwise = "-"): string {
  return at === null ? otherwise : at.replace(/\.\d+Z$/, "Z");
}
