import { describe, expect, it } from "vitest";
import type { OwnStream } from "../../src/protocol/stream.ts";
import { createTestDatabase } from "../helpers/database.ts";
import { SHOWN_ONCE, type StreamCommands, useStreamCommands } from "../helpers/stream-commands.ts";

/*
 * `playhead streams …` on a database.
 */

const COMMANDS = ["create", "list", "rotate", "revoke", "disable", "enable", "sessions"];
const KEY = /^phk_[\w-]{36}$/;

let at: StreamCommands;
useStreamCommands((commands) => {
  at = commands;
});

describe("playhead streams", () => {
  it("explains itself and each of its commands", async () => {
    expect(await at.succeed("--help")).toBe((await at.runAlone("--help")).stdout);
    const help = await at.succeed("--help");
    for (const command of COMMANDS) {
      expect(help).toMatch(new RegExp(`^  ${command}\\b`, "m"));
      expect(await at.succeed(command, "--help")).toContain(`Usage: playhead streams ${command}`);
    }
  });

  it("prints a key once, for a person and for a script", async () => {
    at.isAlone = true;
    const { code, stdout, stderr } = await at.run("create", "--user", "alice", "--title", "A talk");
    expect({ code, stderr }).toEqual({ code: 0, stderr: SHOWN_ONCE });
    expect(stdout.split("\n")).toEqual([
      expect.stringMatching(/^stream [\w-]{36}$/),
      expect.stringMatching(/^key phk_/),
      "",
    ]);
    const key = stdout.split(/\s+/)[3] as string;
    expect(key).toMatch(KEY);

    const made = await at.create();
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
    const listed = (await at.succeed("list")) + (await at.succeed("list", "--json"));
    expect(listed).toContain(made.stream.keyPrefix);
    for (const secret of [key, made.streamKey]) expect(listed).not.toContain(secret.slice(10));
  });

  it("creates a stream with every setting that it has", async () => {
    const { stream } = await at.create(
      ...["--expires", "2199-01-31T18:00:00+02:00", "--policy", "takeover", "--reconnect", "0"],
    );
    expect(stream).toMatchObject({
      expiresAt: "2199-01-31T16:00:00.000Z",
      policy: "takeover",
      reconnectWindowSeconds: 0,
    });
    const before = Date.now();
    const short = await at.create("--expires", "24h");
    const expiresAt = Date.parse(short.stream.expiresAt ?? "");
    expect(expiresAt).toBeGreaterThanOrEqual(before + 86_400_000);
    expect(expiresAt).toBeLessThanOrEqual(Date.now() + 86_400_000);
  });

  it("lists all streams, however many there are, or those of one user", async () => {
    await at.database.query("INSERT INTO users (id) VALUES ('many')");
    await at.database.query(
      `INSERT INTO streams (id, user_id, title, key_hash, key_prefix)
       SELECT 'many-' || n, 'many', 'Talk ' || n, sha256(n::text::bytea), 'phk_' || n FROM generate_series(1, 450) AS n`,
    );
    const { streams } = JSON.parse(await at.succeed("list", "--user", "many", "--json")) as { streams: OwnStream[] };
    expect(new Set(streams.map(({ id }) => id)).size).toBe(450);
    expect(new Set(streams.map(({ userId }) => userId))).toEqual(new Set(["many"]));
    const [headings, ...lines] = (await at.succeed("list")).trimEnd().split("\n");
    expect(headings).toMatch(/^ID +USER +TITLE +STATUS +KEY +EXPIRES$/);
    const [{ count } = { count: 0 }] = await at.database.query<{ count: number }>("SELECT count(*) FROM streams");
    expect(lines).toHaveLength(count);
    expect(lines.find((line) => line.startsWith("many-450 "))).toMatch(
      /^many-450 +many +Talk 450 +ready +phk_450… +never$/,
    );
    expect(await at.succeed("list", "--user", "nobody")).toBe("ID  USER  TITLE  STATUS  KEY  EXPIRES\n");
  });

  it("prints no control characters of a title to the terminal", async () => {
    await at.create("--title", "\u001b[2J\u001b]0;gone\u0007 A\nB");
    const listed = await at.succeed("list", "--user", "alice");
    expect(listed).not.toContain("\u001b");
    expect(listed).toContain("\u{fffd}[2J\u{fffd}]0;gone\u{fffd} A\u{fffd}B");
  });

  it("says what status a stream has now, and refuses a change that contradicts it", async () => {
    const { id } = (await at.create()).stream;
    expect(await at.succeed("disable", id)).toBe(`stream ${id} is disabled\n`);
    expect(await at.succeed("disable", id)).toBe(`stream ${id} is disabled\n`);
    expect(await at.succeed("enable", id)).toBe(`stream ${id} is ready\n`);
    expect(await at.succeed("revoke", id)).toBe(`stream ${id} is revoked\n`);
    expect(await at.succeed("revoke", id)).toBe(`stream ${id} is revoked\n`);
    await at.expectRefused(["enable", id], /^The stream's key is revoked; rotate gives it a new one\.\n$/);
    await at.expectRefused(["disable", id], /^The stream is revoked: /);
    expect((await at.printKey("rotate", id)).stream.status).toBe("ready");
  });

  it("says that a new key of a disabled stream is still refused", async () => {
    const { id } = (await at.create()).stream;
    await at.succeed("disable", id);
    const { code, stdout, stderr } = await at.run("rotate", id);
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: `${SHOWN_ONCE}The stream is disabled: the new key is refused too.\n`,
    });
    expect(stdout).toMatch(new RegExp(`^stream ${id}\nkey phk_[\\w-]{36}\n$`));
  });

  it.each(["rotate", "revoke", "disable", "enable", "sessions"])("says that there is no such stream: %s", (command) =>
    at.expectRefused([command, "no-such-stream"], /^There is no such stream\.\n$/),
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
  ])("refuses `streams %s`", (line, reason) => at.expectRefused(line.split(" ").filter(Boolean), reason));

  it("exits with 1 after a line that it refuses, in a process of its own", async () => {
    at.isAlone = true;
    await at.expectRefused(["dance"], /unknown command 'dance'/);
    await at.expectRefused(["revoke", "no-such-stream"], /^There is no such stream\.\n$/);
  });

  it("lets no user have more than MAX_STREAMS_PER_USER streams", async () => {
    at.env.MAX_STREAMS_PER_USER = "1";
    await at.printKey("create", "--user", "one", "--title", "First");
    await at.expectRefused(
      ["create", "--user", "one", "--title", "Second"],
      /^A user may have 1 streams; delete one first/,
    );
  });

  it("refuses a database that is not migrated", async () => {
    const empty = await createTestDatabase({ migrated: false });
    at.env.DATABASE_URL = empty.url;
    await at.expectRefused(
      ["list"],
      /^The database is not migrated yet: run `playhead migrate`, or start the server\.\n$/,
    );
    await at.expectRefused(["create", "--user", "alice", "--title", "T"], /not migrated yet/);
    await empty.drop();
  });

  it("says that the database cannot be reached", async () => {
    at.isAlone = true;
    at.env.DATABASE_URL = "postgres://nobody@127.0.0.1:1/none";
    await at.expectRefused(["list"], /^The database cannot be reached: /);
  });
});
