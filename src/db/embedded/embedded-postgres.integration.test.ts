import { mkdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeDataFolder } from "../../../test/helpers/data-folder.ts";
import { type RunningProcess, runProcess } from "../../../test/helpers/run-process.ts";
import { waitFor } from "../../../test/helpers/wait-for.ts";
import { createLogger } from "../../logger.ts";
import { type EmbeddedPostgres, findRunningEmbeddedPostgres, startEmbeddedPostgres } from "./embedded-postgres.ts";
import { processStartMark } from "./process-info.ts";

const logger = createLogger({ level: "silent" });

describe("the embedded PostgreSQL", () => {
  let dataDir: string;
  /** A folder that no server has used yet. */
  let newFolder: string;
  let started: EmbeddedPostgres[];
  beforeEach(async () => {
    dataDir = await makeDataFolder();
    newFolder = join(dataDir, "new");
    started = [];
  });
  afterEach(async () => {
    for (const postgres of started) {
      await postgres.stop();
    }
    await rm(dataDir, { recursive: true });
  });

  async function start(folder = dataDir): Promise<EmbeddedPostgres> {
    const postgres = await startEmbeddedPostgres({ dataDir: folder, logger });
    started.push(postgres);
    return postgres;
  }

  async function startOwner(options: { detached?: boolean } = {}) {
    const owner = runProcess("test/helpers/embedded-owner.ts", [dataDir], options);
    const line = await owner.said(/ready (.*)\n/);
    return { owner, ...(JSON.parse(line.slice("ready ".length)) as { url: string; pid: number }) };
  }

  it("keeps its data over a restart, and its password in a file that only its owner can read", async () => {
    const first = await start(newFolder);
    await query(first.url, "create table kept (n int)");
    await query(first.url, "insert into kept values (42)");
    expect((await stat(join(newFolder, "postgres-password"))).mode & 0o777).toBe(0o600);
    await first.stop();
    expect(await processStartMark(first.pid)).toBeNull();
    const second = await start(newFolder);
    expect(await query(second.url, "select n from kept")).toEqual([{ n: 42 }]);
  });

  it("stores Unicode, sorts text by code point, and keeps fsync and synchronous_commit on", async () => {
    const { url } = await start(newFolder);
    const [settings] = await query(
      url,
      `select current_setting('server_encoding') as encoding, current_setting('fsync') as fsync,
         current_setting('synchronous_commit') as commit, current_setting('max_connections') as connections,
         'Z' < 'a' and 'z' < 'é' as by_code_point, upper('é') as upper`,
    );
    expect(settings).toEqual({
      encoding: "UTF8",
      fsync: "on",
      commit: "on",
      connections: "100",
      by_code_point: true,
      upper: "É",
    });
  });

  it("is found by a command while its server runs, and not after it was stopped", async () => {
    expect(await findRunningEmbeddedPostgres(dataDir)).toBeNull();
    const postgres = await start();
    expect(await findRunningEmbeddedPostgres(dataDir)).toEqual({ url: postgres.url });
    await postgres.stop();
    expect(await findRunningEmbeddedPostgres(dataDir)).toBeNull();
    expect(await findRunningEmbeddedPostgres(join(dataDir, "nowhere"))).toBeNull();
  });

  it("refuses a second server in its folder while the first lives, and names the first", async () => {
    const { owner } = await startOwner();
    await expect(start()).rejects.toThrow(
      new RegExp(`Another Playhead \\(pid ${owner.child.pid}\\) runs with the data folder .*PLAYHEAD_DATA_DIR`),
    );
    await stopOwner(owner);
    expect(await start()).toMatchObject({ pid: expect.any(Number) });
  });

  it("loses nothing that was committed when its owner is killed", async () => {
    const { owner, url, pid } = await startOwner();
    await query(url, "insert into note values ('committed')");
    owner.child.kill("SIGKILL");
    await owner.exited;
    expect(await processStartMark(pid)).not.toBeNull();
    const next = await start();
    expect(await processStartMark(pid)).toBeNull();
    expect(await query(next.url, "select text from note")).toEqual([{ text: "committed" }]);
  });

  it("loses nothing that was committed when its owner and PostgreSQL are killed", async () => {
    const { owner, url, pid } = await startOwner();
    await query(url, "insert into note values ('committed')");
    owner.child.kill("SIGKILL");
    process.kill(pid, "SIGKILL");
    await owner.exited;
    const next = await start();
    expect(await query(next.url, "select text from note")).toEqual([{ text: "committed" }]);
  });

  it("takes over a folder whose lock and postmaster.pid name pids that other processes have by now", async () => {
    await (await start()).stop();
    const stale = { pid: process.pid, host: hostname(), startMark: "another boot/1" };
    await writeFile(join(dataDir, "playhead.lock"), JSON.stringify(stale));
    await writeFile(join(dataDir, "postgres", "postmaster.pid"), `${process.ppid}\n${dataDir}/postgres\n1\n1\n\n\n`);
    expect(await query((await start()).url, "select 1 as one")).toEqual([{ one: 1 }]);
  });

  it("refuses a folder while its owner on another host touches the lock, and takes it over afterwards", async () => {
    const lock = join(dataDir, "playhead.lock");
    const foreign = JSON.stringify({ pid: 7, host: "elsewhere.example", startMark: "some boot/1" });
    await writeFile(lock, foreign);
    const touching = setInterval(() => void utimes(lock, new Date(), new Date()), 500);
    await expect(start()).rejects.toThrow("Another Playhead (pid 7 on elsewhere.example) runs");
    clearInterval(touching);
    expect(await query((await start()).url, "select 1 as one")).toEqual([{ one: 1 }]);
  });

  it("starts anew when the very first start was interrupted", async () => {
    await mkdir(join(newFolder, "postgres.unfinished"), { recursive: true });
    await writeFile(join(newFolder, "postgres.unfinished", "half"), "");
    expect(await query((await start(newFolder)).url, "select 1 as one")).toEqual([{ one: 1 }]);
  });

  it.each(["SIGINT", "SIGTERM"] as const)(
    "outlives a %s to the whole process group until its owner stops it",
    async (signal) => {
      const { owner, pid } = await startOwner({ detached: true });
      process.kill(-(owner.child.pid as number), signal);
      expect(await owner.exited).toBe(0);
      expect(await processStartMark(pid)).toBeNull();
      const next = await start();
      expect(await query(next.url, "select text from note")).toEqual([{ text: signal }]);
      const log = await readFile(join(dataDir, "postgres.log"), "utf8");
      expect(log).toContain("database system is shut down");
      expect(log).not.toContain("was not properly shut down");
    },
  );

  it("starts again on the same port when it dies under its owner", async () => {
    const postgres = await start();
    const { pid } = postgres;
    process.kill(pid, "SIGKILL");
    await waitFor(() => query(postgres.url, "select 1"), { what: "PostgreSQL to be back", timeoutMs: 20_000 });
    await waitFor(() => postgres.pid !== pid, { what: "its owner to know the new process" });
  });

  it("says what to do when the file of the password is missing", async () => {
    await (await start()).stop();
    await rm(join(dataDir, "postgres-password"));
    await expect(start()).rejects.toThrow(/password .* is missing/);
  });

  it.runIf(process.getuid?.() === 0)("works below a folder that only root may enter, as /root is", async () => {
    const closed = join(dataDir, "closed");
    await mkdir(closed, { mode: 0o700 });
    expect(await query((await start(join(closed, "data"))).url, "select 1 as one")).toEqual([{ one: 1 }]);
  });
});

async function stopOwner(owner: RunningProcess): Promise<void> {
  owner.child.kill("SIGTERM");
  expect(await owner.exited).toBe(0);
}

async function query(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => undefined);
  await client.connect();
  try {
    return (await client.query(sql)).rows;
  } finally {
    await client.end();
  }
}
