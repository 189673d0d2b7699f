import { connect } from "node:net";
import { join } from "node:path";
import { io } from "socket.io-client";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findCluster } from "../../src/db/embedded/postgres-cluster.ts";
import { processExists } from "../../src/db/embedded/process-info.ts";
import type { Ack } from "../../src/protocol/ack.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import { SERVER_MAIN } from "../helpers/built-server.ts";
import { embeddedUrl, makeDataFolder, removeDataFolder } from "../helpers/data-folder.ts";
import { COURSE_ID, FILE_IDS, putLoadCourse, startFlowServer, users } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Load, startLoad } from "../helpers/load-players.ts";
import { findBrokenPromises } from "../helpers/oracle.ts";
import { queryOf, withTransaction } from "../helpers/query.ts";
import { runProcess } from "../helpers/run-process.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * A server with its own PostgreSQL stops and starts again, by signals and by crashes.
 */

const PLAYERS = 30;

type BeatAck = Ack<{ progress: FileProgress }>;

describe("a server that stops and starts again", () => {
  let dataDir: string;
  let env: Record<string, string>;
  let server: ServerProcess;
  let load: Load | undefined;

  beforeEach(async () => {
    dataDir = await makeDataFolder();
    // Short, because a heartbeat that waits for a locked course is refused after some seconds.
    env = { PLAYHEAD_DATA_DIR: dataDir, PORT: await findFreePort(), DRAIN_MS: "100" };
    server = await startFlowServer(env, { detached: true });
    await putLoadCourse(server.url);
  });
  afterEach(async () => {
    load?.stop();
    load = undefined;
    await server.kill();
    await removeDataFolder(dataDir);
  });

  async function startAgain(): Promise<void> {
    server = await startFlowServer(env, { detached: true });
  }

  async function play(): Promise<Load> {
    load = await startLoad({ url: server.url, users: users(PLAYERS), fileIds: FILE_IDS, mintToken });
    await load.ackedMore(2 * PLAYERS);
    return load;
  }

  async function expectNothingLost(played: Load): Promise<void> {
    await played.settle();
    expect(await findBrokenPromises(played, queryOf(await embeddedUrl(dataDir)), COURSE_ID)).toEqual([]);
  }

  /** Holds every heartbeat back until the work is done, as a change of the course does. */
  async function whileHeldBack(work: () => Promise<void>): Promise<void> {
    await withTransaction(await embeddedUrl(dataDir), async (query) => {
      await query("SELECT lock_catalogue($1)", [COURSE_ID]);
      await work();
    });
  }

  async function expectPending(beats: number): Promise<void> {
    await waitFor(async () => (await pendingBeats(server.url)) === beats, { what: `${beats} heartbeats to wait` });
  }

  it("acks every heartbeat that waits at SIGTERM, and accepts no new connection meanwhile", async () => {
    const { socket, send } = await openPlayer(server.url);
    const draining = new Promise((resolve) => socket.once("server:draining", resolve));
    const waiting: Promise<BeatAck>[] = [];
    const late: Promise<BeatAck>[] = [];
    await whileHeldBack(async () => {
      for (let seq = 2; seq < 12; seq++) waiting.push(send(seq));
      await expectPending(10);
      process.kill(server.pid, "SIGTERM");
      await draining;
      expect(await knock(env.PORT as string)).toBe("ECONNREFUSED");
      await untilLastFlush(send, late);
      expect(server.process.child.exitCode).toBeNull();
    });
    expect((await Promise.all(waiting)).map((ack) => ack.ok)).toEqual(waiting.map(() => true));
    expect((await Promise.all(late)).filter((ack) => !ack.ok && !isStopping(ack))).toEqual([]);
    expect(await server.process.exited).toBe(0);
    socket.disconnect();
  });

  it("answers every HTTP request whose heartbeats wait at SIGTERM", async () => {
    const { socket, send } = await openPlayer(server.url);
    const late: Promise<BeatAck>[] = [];
    const posted: Promise<PostedBeat>[] = [];
    await whileHeldBack(async () => {
      for (const user of users(10)) posted.push(postBeat(server.url, await mintToken(user)));
      await expectPending(posted.length);
      process.kill(server.pid, "SIGTERM");
      await untilLastFlush(send, late);
    });
    expect(await Promise.all(posted)).toEqual(posted.map(() => ({ status: 200, ok: true })));
    await Promise.all(late);
    expect(await server.process.exited).toBe(0);
    socket.disconnect();
  });

  it("answers every beat at SIGTERM under load, loses none, and exits with 0", async () => {
    const played = await play();
    expect(await server.stop()).toBe(0);
    expect(played.unanswered).toBe(0);
    await startAgain();
    await played.ackedMore(PLAYERS);
    await expectNothingLost(played);
  });

  it("writes every beat before its PostgreSQL stops when Ctrl-C reaches the whole process group", async () => {
    const played = await play();
    const postgres = await findCluster(join(dataDir, "postgres"));
    process.kill(-server.pid, "SIGINT");
    expect(await server.process.exited).toBe(0);
    expect(played.unanswered).toBe(0);
    expect(server.process.stderr()).toBe("");
    expect(processExists(postgres?.pid ?? 0)).toBe(false);
    await startAgain();
    await played.ackedMore(PLAYERS);
    await expectNothingLost(played);
  });

  it("replaces a PostgreSQL that a killed server left running", async () => {
    const played = await play();
    await server.kill();
    const orphan = await findCluster(join(dataDir, "postgres"));
    expect(orphan).not.toBeNull();
    await startAgain();
    expect((await findCluster(join(dataDir, "postgres")))?.pid).not.toBe(orphan?.pid);
    await played.ackedMore(PLAYERS);
    await expectNothingLost(played);
  });

  it("goes on undisturbed when a second server is refused its data folder", async () => {
    const played = await play();
    const second = runProcess(SERVER_MAIN, ["serve"], { env: { ...env, PORT: "0", DATABASE_URL: undefined } });
    expect(await second.exited).toBe(1);
    expect(second.stdout()).toBe("");
    expect(second.stderr()).toMatch(
      new RegExp(`^Another Playhead \\(pid ${server.pid}\\) runs with the data folder ${dataDir}\\.`),
    );
    expect(second.stderr()).toContain("PLAYHEAD_DATA_DIR");
    expect(second.stderr()).not.toMatch(/^\s+at /m);
    await played.ackedMore(PLAYERS);
    await expectNothingLost(played);
  });

  it("keeps courses, progress and tokens over a restart", async () => {
    const token = await mintToken("learner-0");
    const played = await play();
    await played.settle();
    const before = await readCourse(server.url, token);
    played.stop();
    expect(await server.stop()).toBe(0);
    await startAgain();
    expect(await readCourse(server.url, token)).toEqual(before);
  });
});

/** Opens a player with one beat acked, so that the next beats wait for nothing but the test's lock. */
async function openPlayer(url: string) {
  const socket = io(`${url}/player`, { auth: { token: await mintToken("ann") }, transports: ["websocket"] });
  const send = async (seq: number): Promise<BeatAck> => {
    const beat = { fileId: FILE_IDS[0], position: seq, sessionId: "s", seq };
    return (await socket.timeout(20_000).emitWithAck("heartbeat", beat)) as BeatAck;
  };
  expect((await send(1)).ok).toBe(true);
  return { socket, send };
}

/** Sends beats until one is refused because the last flush has begun. The beats before it wait for the lock. */
async function untilLastFlush(send: (seq: number) => Promise<BeatAck>, late: Promise<BeatAck>[]): Promise<void> {
  let begun = false;
  const check = () => {
    if (!begun) {
      const beat = send(100 + late.length);
      late.push(beat);
      beat.then(
        (ack) => {
          begun ||= isStopping(ack);
        },
        () => undefined, // the caller looks at it
      );
    }
    return begun;
  };
  await waitFor(check, { what: "the last flush to begin" });
}

function isStopping(ack: BeatAck): boolean {
  return !ack.ok && ack.error.code === "unavailable" && /stopping/.test(ack.error.message);
}

interface PostedBeat {
  /** Null where the connection ended without an answer. */
  status: number | null;
  ok?: boolean | undefined;
}

async function postBeat(url: string, token: string): Promise<PostedBeat> {
  try {
    const response = await fetch(`${url}/v1/heartbeats`, {
      method: "POST",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ beats: [{ fileId: FILE_IDS[1], position: 5, sessionId: "s", seq: 1 }] }),
    });
    const { results } = (await response.json()) as { results?: { ok: boolean }[] };
    return { status: response.status, ok: results?.[0]?.ok };
  } catch {
    return { status: null };
  }
}

async function pendingBeats(url: string): Promise<number> {
  const text = await (await fetch(`${url}/metrics`)).text();
  return Number(/^playhead_heartbeats_pending (\d+)$/m.exec(text)?.[1]);
}

async function readCourse(url: string, token: string): Promise<unknown> {
  const response = await fetch(`${url}/learn/api/progress/course/${COURSE_ID}`, {
    headers: { authorization: `Bearer ${token}` },
  });
  expect(response.status).toBe(200);
  return await response.json();
}

/** Tries a new connection, and gives the code of its error, or `accepted`. */
function knock(port: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect(Number(port), "127.0.0.1");
    socket.once("connect", () => {
      socket.destroy();
      resolve("accepted");
    });
    socket.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  });
}
