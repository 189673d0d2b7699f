import { join } from "node:path";
import { Command, CommanderError } from "commander";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { explainFailure } from "../../src/cli/explain-failure.ts";
import { addStreamCommands } from "../../src/cli/stream-commands.ts";
import { loadConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import type { OwnStream, StreamSession, Verdict } from "../../src/protocol/stream.ts";
import { removeDataFolder } from "../helpers/data-folder.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type Encoder, startEncoder } from "../helpers/encoder.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Nginx, startNginx } from "../helpers/nginx.ts";
import { runPlayhead } from "../helpers/run-playhead.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { type Client, connect } from "../helpers/socket-client.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { mintToken } from "../helpers/tokens.ts";
import { type WatchedStream, watchStream } from "../helpers/watched-stream.ts";

/*
 * `playhead streams …`, beside a server and without one.
 */

const COMMANDS = ["create", "list", "rotate", "revoke", "disable", "enable", "sessions"];
const SECRET = "only-these-flows-know-it";
const KEY = /^phk_[\w-]{36}$/;
const SHOWN_ONCE = "Keep the key: it is not shown again. If it is lost, rotate the stream's key.\n";

let folder: string;
let database: TestDatabase;
/** Where the commands find their database. */
let env: Record<string, string>;
/** Most tests run commands in this process: to start a process takes a second. */
let run: (...args: string[]) => Promise<Ran>;

interface Ran {
  code: number | NodeJS.Signals;
  stdout: string;
  stderr: string;
}

beforeAll(async () => {
  folder = await makeTemporaryFolder();
  database = await createTestDatabase();
});
beforeEach(() => {
  env = { DATABASE_URL: database.url, MAX_STREAMS_PER_USER: "1000" };
  run = runHere;
});
afterAll(async () => {
  await removeDataFolder(folder);
  await database.drop();
});

/** Runs `playhead streams …` in a process of its own. */
function runAlone(...args: string[]): Promise<Ran> {
  return runPlayhead(["streams", ...args], { cwd: folder, env });
}

/** Runs `playhead streams …` in this process, put together as in src/main.ts. */
async function runHere(...args: string[]): Promise<Ran> {
  const ran: Ran = { code: 0, stdout: "", stderr: "" };
  const writeOut = (text: string) => {
    ran.stdout += text;
  };
  const writeErr = (text: string) => {
    ran.stderr += text;
  };
  const program = new Command("playhead").exitOverride().configureOutput({ writeOut, writeErr });
  addStreamCommands(program, {
    readSetting: () => ({ config: loadConfig(env), logger: createLogger({ level: "error" }) }),
    print: (line) => writeOut(`${line}\n`),
    note: (line) => writeErr(`${line}\n`),
  });
  try {
    await program.parseAsync(["streams", ...args], { from: "user" });
  } catch (error) {
    if (!(error instanceof CommanderError)) writeErr(`${explainFailure(error)}\n`);
    ran.code = error instanceof CommanderError ? error.exitCode : 1;
  }
  return ran;
}

/** Runs a command that has to succeed. @returns its standard output */
async function succeed(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return stdout;
}

async function expectRefused(args: string[], reason: string | RegExp): Promise<void> {
  const { code, stdout, stderr } = await run(...args);
  expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
  expect(stderr).toMatch(reason);
  expect(stderr).not.toMatch(/^\s+at /m);
}

interface Made {
  stream: OwnStream;
  streamKey: string;
}

async function printKey(...args: string[]): Promise<Made> {
  const { code, stdout, stderr } = await run(...args, "--json");
  expect({ code, stderr }).toEqual({ code: 0, stderr: SHOWN_ONCE });
  return JSON.parse(stdout);
}

function create(...more: string[]): Promise<Made> {
  return printKey("create", "--user", "alice", "--title", "A talk", ...more);
}

describe("playhead streams", () => {
  it("explains itself and each of its commands", async () => {
    expect(await succeed("--help")).toBe((await runAlone("--help")).stdout);
    const help = await succeed("--help");
    for (const command of COMMANDS) {
      expect(help).toMatch(new RegExp(`^  ${command}\\b`, "m"));
      expect(await succeed(command, "--help")).toContain(`Usage: playhead streams ${command}`);
    }
  });

  it("prints a key once, for a person and for a script", async () => {
    run = runAlone;
    const { code, stdout, stderr } = await run("create", "--user", "alice", "--title", "A talk");
    expect({ code, stderr }).toEqual({ code: 0, stderr: SHOWN_ONCE });
    expect(stdout.split("\n")).toEqual([
      expect.stringMatching(/^stream [\w-]{36}$/),
      expect.stringMatching(/^key phk_/),
      "",
    ]);
    const key = stdout.split(/\s+/)[3] as string;
    expect(key).toMatch(KEY);

    const made = await create();
    expect(made.streamKey).toMatch(KEY);
    expect(made).toEqual({
      streamKey: expect.any(String),
      stream: expect.objectContaining({
        userId: "alice",
        title: "A talk",
        status: "ready",
        keyPrefix: made.streamKey.slice(0, 10),
        expiresAt: null,
        policy: "first_wins",
        reconnectWindowSeconds: 60,
      }),
    });
    const listed = (await succeed("list")) + (await succeed("list", "--json"));
    expect(listed).toContain(made.stream.keyPrefix);
    for (const secret of [key, made.streamKey]) expect(listed).not.toContain(secret.slice(10));
  });

  it("creates a stream with every setting that it has", async () => {
    const { stream } = await create(
      ...["--expires", "2199-01-31T18:00:00+02:00", "--policy", "takeover", "--reconnect", "0"],
    );
    expect(stream).toMatchObject({
      expiresAt: "2199-01-31T16:00:00.000Z",
      policy: "takeover",
      reconnectWindowSeconds: 0,
    });
    const before = Date.now();
    const short = await create("--expires", "24h");
    const expiresAt = Date.parse(short.stream.expiresAt ?? "");
    expect(expiresAt).toBeGreaterThanOrEqual(before + 86_400_000);
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + 86_400_000);
  });

  it("lists all streams, however many there are, or those of one user", async () => {
    await database.query("INSERT INTO users (id) VALUES ('many')");
    await database.query(
      `INSERT INTO streams (id, user_id, title, key_hash, key_prefix)
       SELECT 'many-' || n, 'many', 'Talk ' || n, sha256(n::text::bytea), 'phk_' || n FROM generate_series(1, 450) AS n`,
    );
    const { streams } = JSON.parse(await succeed("list", "--user", "many", "--json")) as { streams: OwnStream[] };
    expect(new Set(streams.map(({ id }) => id)).size).toBe(450);
    expect(new Set(streams.map(({ userId }) => userId))).toEqual(new Set(["many"]));
    const [headings, ...lines] = (await succeed("list")).trimEnd().split("\n");
    expect(headings).toMatch(/^ID +USER +TITLE +STATUS +KEY +EXPIRES$/);
    const [{ count } = { count: 0 }] = await database.query<{ count: number }>("SELECT count(*) FROM streams");
    expect(lines).toHaveLength(count);
    expect(lines.find((line) => line.startsWith("many-450 "))).toMatch(
      /^many-450 +many +Talk 450 +ready +phk_450… +never$/,
    );
    expect(await succeed("list", "--user", "nobody")).toBe("ID  USER  TITLE  STATUS  KEY  EXPIRES\n");
  });

  it("prints no control characters of a title to the terminal", async () => {
    await create("--title", "\u001b[2J\u001b]0;gone\u0007 A\nB");
    const listed = await succeed("list", "--user", "alice");
    expect(listed).not.toContain("\u001b");
    expect(listed).toContain("\u{fffd}[2J\u{fffd}]0;gone\u{fffd} A\u{fffd}B");
  });

  it("says what status a stream has now, and refuses a change that contradicts it", async () => {
    const { id } = (await create()).stream;
    expect(await succeed("disable", id)).toBe(`stream ${id} is disabled\n`);
    expect(await succeed("disable", id)).toBe(`stream ${id} is disabled\n`);
    expect(await succeed("enable", id)).toBe(`stream ${id} is ready\n`);
    expect(await succeed("revoke", id)).toBe(`stream ${id} is revoked\n`);
    expect(await succeed("revoke", id)).toBe(`stream ${id} is revoked\n`);
    await expectRefused(["enable", id], /^The stream's key is revoked; rotate gives it a new one\.\n$/);
    await expectRefused(["disable", id], /^The stream is revoked: /);
    expect((await printKey("rotate", id)).stream.status).toBe("ready");
  });

  it("says that a new key of a disabled stream is still refused", async () => {
    const { id } = (await create()).stream;
    await succeed("disable", id);
    const { code, stdout, stderr } = await run("rotate", id);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `${SHOWN_ONCE}The stream is disabled: the new key is refused too.\n`,
    });
    expect(stdout).toMatch(new RegExp(`^stream ${id}\nkey phk_[\\w-]{36}\n$`));
  });

  it.each(["rotate", "revoke", "disable", "enable", "sessions"])("says that there is no such stream: %s", (command) =>
    expectRefused([command, "no-such-stream"], /^There is no such stream\.\n$/),
  );

  it.each<[string, RegExp]>([
    ["", /Usage: playhead streams/],
    ["dance", /unknown command 'dance'/],
    ["create --title T", /required option '--user <id>'/],
    ["create --user alice", /required option '--title <text>'/],
    ["create --user= --title T", /'--user <id>'.*An id has 1 to 128 characters\./],
    ["create --user alice --title=", /'--title <text>'.*A title has 1 to 500 characters\./],
    ["create --user alice --title T --expires tomorrow", /'--expires <when>'.*such as 2027-01-31T18:00:00Z/],
    ["create --user alice --title T --expires 2027-01-31", /with its zone/],
    ["create --user alice --title T --expires 2020-01-01T00:00:00Z", /in the future/],
    ["create --user alice --title T --policy last_wins", /Allowed choices are first_wins, takeover/],
    ["create --user alice --title T --reconnect 1801", /whole seconds, 0 to 1800/],
    ["create --user alice --title T --reconnect soon", /whole seconds, 0 to 1800/],
    ["create --user alice --title T more", /too many arguments/],
    ["rotate", /missing required argument 'id'/],
    ["rotate id --grace 86401", /whole seconds, 0 to 86400/],
    ["rotate id --grace=-1", /whole seconds, 0 to 86400/],
    ["list --user=", /An id has 1 to 128 characters\./],
    ["list --format xml", /unknown option '--format'/],
  ])("refuses `streams %s`", (line, reason) => expectRefused(line.split(" ").filter(Boolean), reason));

  it("exits with 1 after a line that it refuses, in a process of its own", async () => {
    run = runAlone;
    await expectRefused(["dance"], /unknown command 'dance'/);
    await expectRefused(["revoke", "no-such-stream"], /^There is no such stream\.\n$/);
  });

  it("lets no user have more than MAX_STREAMS_PER_USER streams", async () => {
    env.MAX_STREAMS_PER_USER = "1";
    await printKey("create", "--user", "one", "--title", "First");
    await expectRefused(
      ["create", "--user", "one", "--title", "Second"],
      /^A user may have 1 streams; delete one first/,
    );
  });

  it("refuses a database that is not migrated", async () => {
    const empty = await createTestDatabase({ migrated: false });
    env.DATABASE_URL = empty.url;
    await expectRefused(
      ["list"],
      /^The database is not migrated yet: run `playhead migrate`, or start the server\.\n$/,
    );
    await expectRefused(["create", "--user", "alice", "--title", "T"], /not migrated yet/);
    await empty.drop();
  });

  it("says that the database cannot be reached", async () => {
    run = runAlone;
    env.DATABASE_URL = "postgres://nobody@127.0.0.1:1/none";
    await expectRefused(["list"], /^The database cannot be reached: /);
  });
});

describe("playhead streams beside a server", () => {
  let server: ServerProcess;
  let nginx: Nginx;
  const encoders: Encoder[] = [];
  const watched: WatchedStream[] = [];

  beforeAll(async () => {
    const port = await findFreePort();
    nginx = await startNginx({
      playhead: `127.0.0.1:${port}`,
      secret: SECRET,
      server: "edge-1",
      // Only Playhead can cut a publisher before the test is over.
      changes: { "notify_update_timeout 10s": "notify_update_timeout 10m" },
    });
    server = await startFlowServer({
      PORT: port,
      DATABASE_URL: database.url,
      HOOK_SECRETS: `nginx-rtmp:${SECRET}`,
      RTMP_SECRETS: SECRET,
      NGINX_CONTROL_URLS: `edge-1=${nginx.controlUrl}`,
    });
  });
  afterEach(async () => {
    await Promise.all(encoders.splice(0).map((encoder) => encoder.kill()));
    for (const dashboard of watched.splice(0)) dashboard.close();
  });
  afterAll(async () => {
    await server?.stop();
    await nginx?.stop();
  });

  async function watch(streamId: string): Promise<WatchedStream> {
    const dashboard = await watchStream({ url: server.url, token: await mintToken("bob"), streamId });
    watched.push(dashboard);
    return dashboard;
  }

  async function publish(key: string, dashboard: WatchedStream): Promise<Encoder> {
    const encoder = startEncoder(`${nginx.rtmpUrl}/${key}`);
    encoders.push(encoder);
    await dashboard.until("live");
    await encoder.sendsOn(300);
    return encoder;
  }

  it("cuts a live encoder by revoke and by disable, and lists both sessions", async () => {
    const { stream, streamKey } = await create();
    const dashboard = await watch(stream.id);

    const first = await publish(streamKey, dashboard);
    expect(await succeed("list", "--user", "alice")).toMatch(new RegExp(`^${stream.id} +alice +A talk +live `, "m"));
    run = runAlone;
    expect(await succeed("revoke", stream.id)).toBe(`stream ${stream.id} is revoked\n`);
    run = runHere;
    expect((await first.exited).code).toBe(1);
    await dashboard.until("revoked");
    const refused = await startEncoder(`${nginx.rtmpUrl}/${streamKey}`).exited;
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("Input/output error") });

    const rotated = await printKey("rotate", stream.id);
    await dashboard.until("ready");
    const second = await publish(rotated.streamKey, dashboard);
    await succeed("disable", stream.id);
    expect((await second.exited).code).toBe(1);
    await dashboard.until("disabled");

    const [headings, ...lines] = (await succeed("sessions", stream.id)).trimEnd().split("\n");
    expect(headings).toMatch(/^STARTED +ENDED +SECONDS +STATE +REASON +SERVER +FROM +CONNECTED +PEAK +KBIT\/S$/);
    const time = String.raw`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z`;
    const toLine = (reason: string) =>
      expect.stringMatching(new RegExp(`^${time} +${time} +\\d+ +ended +${reason} +edge-1 +127\\.0\\.0\\.1 +1 +- +-$`));
    expect(lines).toEqual([toLine("disabled"), toLine("revoked")]);
    const { sessions } = JSON.parse(await succeed("sessions", stream.id, "--json")) as { sessions: StreamSession[] };
    expect(sessions).toEqual([
      expect.objectContaining({ server: "edge-1", endReason: "disabled", state: "ended" }),
      expect.objectContaining({ server: "edge-1", endReason: "revoked", state: "ended" }),
    ]);
  });

  it("makes the server tell a media server on the socket which session to drop", async () => {
    const media = await connectMediaServer(server.url);
    const { stream, streamKey } = await create("--expires", "1h");
    const verdict = await validate(media, stream.id, streamKey);
    if (!verdict.valid) throw new Error(`the key was refused as ${verdict.reason}`);
    const { sessionId } = verdict;
    expect(verdict.lifetimeMs).toBeGreaterThan(0);
    await media.call("stream:started", { sessionId });
    await succeed("revoke", stream.id);
    expect(await media.hear("stream:drop")).toEqual({ sessionId, reason: "revoked" });
    expect(await validate(media, stream.id, streamKey)).toMatchObject({ valid: false, reason: "revoked" });
    media.close();
  });

  it("makes the server accept the old key beside the new one only during the grace period", async () => {
    const media = await connectMediaServer(server.url);
    const { stream, streamKey } = await create();
    expect(await validate(media, stream.id, streamKey)).toMatchObject({ valid: true });
    const graceful = await printKey("rotate", stream.id, "--grace", "600");
    expect(graceful.stream.previousKeyUntil).not.toBeNull();
    for (const key of [streamKey, graceful.streamKey]) {
      expect(await validate(media, stream.id, key)).toMatchObject({ valid: true });
    }
    const sudden = await printKey("rotate", stream.id);
    expect(sudden.stream.previousKeyUntil).toBeNull();
    for (const key of [streamKey, graceful.streamKey]) {
      expect(await validate(media, stream.id, key)).toMatchObject({ valid: false, reason: "unknown" });
    }
    expect(await validate(media, stream.id, sudden.streamKey)).toMatchObject({ valid: true });
    media.close();
  });
});

function connectMediaServer(url: string): Promise<Client> {
  return connect(url, "/rtmp", "", { auth: { secret: SECRET, server: "ingest-1", boot: "1" } });
}

async function validate(media: Client, connectionId: string, streamKey: string): Promise<Verdict> {
  return (await media.call("stream:validate", { streamKey, connectionId })) as never;
}

describe("playhead streams with the embedded PostgreSQL", () => {
  let server: ServerProcess | undefined;

  afterEach(async () => {
    await server?.kill();
  });

  it("works while a server runs that PostgreSQL, and without a server", async () => {
    run = runAlone;
    env = { PLAYHEAD_DATA_DIR: join(folder, "data") };
    server = await startFlowServer({ ...env, RTMP_SECRETS: SECRET });
    const { stream, streamKey } = await create();
    const media = await connectMediaServer(server.url);
    expect(await validate(media, "1", streamKey)).toMatchObject({ valid: true, stream: { id: stream.id } });
    media.close();
    expect(await server.stop()).toBe(0);

    expect(await succeed("list")).toContain(stream.id);
    expect(await succeed("revoke", stream.id)).toBe(`stream ${stream.id} is revoked\n`);

    server = await startFlowServer(env);
    expect(await succeed("list")).toMatch(new RegExp(`^${stream.id} .* revoked `, "m"));
    expect(await server.stop()).toBe(0);
  });
});
