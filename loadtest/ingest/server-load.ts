import { writeFile } from "node:fs/promises";
import pg from "pg";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { onEnd } from "../harness/cleanup.ts";
import { type LatencySummary, summarize } from "../harness/latency.ts";
import { describeMachine } from "../harness/machine.ts";
import { readPostgresCpu } from "../harness/process-cpu.ts";
import { startWorker, type Worker } from "../harness/worker.ts";
import { INSTRUCTOR_ID, makeCourseTree, toCourseId } from "../load/catalogue.ts";
import { type Cost, sumCosts, watchCost } from "../load/cost-window.ts";
import { measureIdleMemory } from "../load/idle-memory.ts";
import { connectPlayers, loadPlayers, type PlayersLoad, startPlayers } from "../load/player-processes.ts";
import { type PlayheadServer, startPlayhead } from "../load/playhead-server.ts";
import type { LoadOptions } from "../options.ts";
import { openBareBatches } from "../peers/bare-batch.ts";
import { startRecountPeer } from "../peers/recount-peer.ts";
import { BareLoad } from "./bare-load.ts";
import type { Figures } from "./figures.ts";
import { printReport } from "./report.ts";

/*
 * One run: idle connections, then server and peers at saturation in turn, on one PostgreSQL, then the server at half
 * its top rate with a dashboard watching.
 */

const ROUNDS = 2;
const PLAYER_PROCESSES = 2;
const PROBES = 20;
const WARMUP_SECONDS = 2;
/** The first round also writes every row for the first time, and compiles. */
const FIRST_WARMUP_SECONDS = 4;

export async function runServerLoad(options: LoadOptions): Promise<void> {
  say("building and starting the server");
  const server = await startPlayhead(options);
  await putCourses(server, options);
  if (options.profile !== null) return await runProfile(server, options);

  say(`memory of ${options.idleConnections} idle connections`);
  const idle = await measureIdleMemory(server, options.idleConnections);
  const players = await openPlayers(server, options);
  const saturation = await measureSaturation(server, players, options);
  const half = await measureHalf(server, players, { seconds: options.seconds, topRate: saturation.ours.perSecond });
  const { machine, ...after } = await readAfter(server, options);
  const figures: Figures = {
    machine,
    foreignCores: toForeignCores(saturation.ours, options.seconds),
    connections: options.connections,
    courses: options.courses,
    writers: options.writers,
    ...saturation,
    half,
    idle: { connections: options.idleConnections, ...idle },
    after,
  };
  printReport(figures);
  if (options.json !== null) await writeFile(options.json, `${JSON.stringify(figures, null, 2)}\n`);
}

/** Load and nothing else, so that the profile shows nothing else. */
async function runProfile(server: PlayheadServer, options: LoadOptions): Promise<void> {
  const players = await openPlayers(server, options);
  const window = { warmupSeconds: FIRST_WARMUP_SECONDS, seconds: options.seconds };
  const [load, cost] = await Promise.all([loadPlayers(players, window), watchCost(server, window)]);
  say(
    `${Math.round(load.perSecond)} heartbeats/s, ${((cost.serverCpuSeconds * 1e6) / cost.heartbeats).toFixed(1)} µs of the server each`,
  );
  await server.stop();
  say(`the profile is in ${options.profile}`);
}

async function putCourses(server: PlayheadServer, { courses, files }: LoadOptions): Promise<void> {
  const tokens = createBuiltinTokens({ secret: server.secret, ttlSeconds: 3600 });
  const { token } = await tokens.mint({ userId: INSTRUCTOR_ID, role: "instructor" });
  for (let course = 0; course < courses; course++) {
    const response = await fetch(`${server.url}/v1/courses/${toCourseId(course)}`, {
      method: "PUT",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(makeCourseTree(course, files)),
    });
    if (!response.ok) throw new Error(`the course was refused: ${response.status} ${await response.text()}`);
  }
}

async function openPlayers(server: PlayheadServer, options: LoadOptions): Promise<Worker[]> {
  say(`connecting ${options.connections} players`);
  const players = startPlayers(PLAYER_PROCESSES);
  await connectPlayers(players, { server, firstUser: 0, count: options.connections, shape: options });
  return players;
}

async function measureSaturation(server: PlayheadServer, players: Worker[], options: LoadOptions) {
  const peersUrl = await createDatabase(server.databaseUrl, "peers");
  const bareBatches = await openBareBatches(peersUrl);
  onEnd(() => bareBatches.end());
  const peerShape = { users: options.connections, shape: options };
  const bareLoad = new BareLoad(bareBatches, peerShape);
  const recount = await startRecountPeer({ databaseUrl: peersUrl, secret: server.secret, ...peerShape });

  const rounds: { ours: PlayersLoad; cost: Cost; bare: BareRound; recount: RecountRound }[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    const warmupSeconds = round === 0 ? FIRST_WARMUP_SECONDS : WARMUP_SECONDS;
    const window = { warmupSeconds, seconds: options.seconds / ROUNDS };
    say(`round ${round + 1} of ${ROUNDS}: the server at saturation`);
    const [ours, cost] = await Promise.all([loadPlayers(players, window), watchCost(server, window)]);
    say(`  ${Math.round(ours.perSecond)} a second; now a bare batch`);
    const bare = await measureBare(server, bareLoad, window);
    say(`  ${Math.round(bare.perSecond)} a second; now POST and recount`);
    const recounted = await measureRecount(server, recount, window);
    say(`  ${Math.round(recounted.perSecond)} a second`);
    rounds.push({ ours, cost, bare, recount: recounted });
  }
  return {
    ours: {
      perSecond: mean(rounds.map((round) => round.ours.perSecond)),
      perRound: rounds.map((round) => round.ours.perSecond),
      latency: rounds.map((round) => round.ours.latency),
      cost: sumCosts(rounds.map((round) => round.cost)),
      generatorCpuSeconds: sum(rounds.map((round) => round.ours.cpuSeconds)),
      refused: merge(rounds.map((round) => round.ours.refused)),
    },
    bare: {
      perSecond: mean(rounds.map((round) => round.bare.perSecond)),
      perRound: rounds.map((round) => round.bare.perSecond),
      rows: sum(rounds.map((round) => round.bare.rows)),
      postgresCpuSeconds: sumOrNull(rounds.map((round) => round.bare.postgresCpuSeconds)),
    },
    recount: {
      perSecond: mean(rounds.map((round) => round.recount.perSecond)),
      perRound: rounds.map((round) => round.recount.perSecond),
      latency: rounds.map((round) => round.recount.latency),
      requests: sum(rounds.map((round) => round.recount.requests)),
      serverCpuSeconds: sum(rounds.map((round) => round.recount.serverCpuSeconds)),
      postgresCpuSeconds: sumOrNull(rounds.map((round) => round.recount.postgresCpuSeconds)),
      refused: merge(rounds.map((round) => round.recount.refused)),
    },
  };
}

function toForeignCores({ cost, generatorCpuSeconds }: Figures["ours"], seconds: number): number | null {
  if (cost.machineCpuSeconds === null || cost.postgresCpuSeconds === null) return null;
  const ours = cost.serverCpuSeconds + cost.postgresCpuSeconds + generatorCpuSeconds;
  return Math.max(0, cost.machineCpuSeconds - ours) / seconds;
}

interface Window {
  warmupSeconds: number;
  seconds: number;
}

interface BareRound {
  rows: number;
  perSecond: number;
  postgresCpuSeconds: number | null;
}

async function measureBare(
  server: PlayheadServer,
  bare: BareLoad,
  { warmupSeconds, seconds }: Window,
): Promise<BareRound> {
  await bare.load({ warmupSeconds: 0, seconds: warmupSeconds });
  const before = await readPostgresCpu(server.dataDir);
  const result = await bare.load({ warmupSeconds: 0, seconds });
  const after = await readPostgresCpu(server.dataDir);
  return {
    rows: result.rows,
    perSecond: result.rows / result.seconds,
    postgresCpuSeconds: before === null || after === null ? null : after - before,
  };
}

interface RecountRound {
  requests: number;
  perSecond: number;
  latency: LatencySummary;
  serverCpuSeconds: number;
  postgresCpuSeconds: number | null;
  refused: Record<string, number>;
}

async function measureRecount(
  server: PlayheadServer,
  peer: Awaited<ReturnType<typeof startRecountPeer>>,
  { warmupSeconds, seconds }: Window,
): Promise<RecountRound> {
  await peer.load({ warmupSeconds: 0, seconds: warmupSeconds });
  const before = await Promise.all([peer.cpuSeconds(), readPostgresCpu(server.dataDir)]);
  const { acked, latencies, refused } = await peer.load({ warmupSeconds: 0, seconds });
  const after = await Promise.all([peer.cpuSeconds(), readPostgresCpu(server.dataDir)]);
  return {
    requests: acked,
    perSecond: acked / seconds,
    latency: summarize([latencies]),
    serverCpuSeconds: after[0] - before[0],
    postgresCpuSeconds: before[1] === null || after[1] === null ? null : after[1] - before[1],
    refused,
  };
}

async function measureHalf(
  server: PlayheadServer,
  players: Worker[],
  options: { seconds: number; topRate: number },
): Promise<Figures["half"]> {
  const ratePerSecond = Math.round(options.topRate / 2);
  say(`${ratePerSecond} a second, whatever the acks do, with a dashboard watching`);
  const probe = startWorker(new URL("../load/dashboard-probe.ts", import.meta.url));
  await probe.call("connect", { url: server.url, secret: server.secret, course: 0, probes: PROBES });
  const window = { warmupSeconds: WARMUP_SECONDS, seconds: options.seconds };
  const [load, cost, seen] = await Promise.all([
    loadPlayers(players, { ...window, ratePerSecond }),
    watchCost(server, window),
    probe.call<{ latencies: string; unseen: number }>("measure", window),
  ]);
  return {
    ratePerSecond,
    perSecond: load.perSecond,
    latency: load.latency,
    lateMs: load.lateMs,
    cost,
    refused: load.refused,
    dashboard: summarize([seen.latencies]),
    unseen: seen.unseen,
  };
}

/** Whether all of it left the database right. */
async function readAfter(server: PlayheadServer, { courses }: LoadOptions) {
  const client = new pg.Client({ connectionString: server.databaseUrl });
  await client.connect();
  try {
    const machine = await describeMachine(client);
    const { rows } = await client.query<{ deadlocks: string }>(
      "SELECT sum(deadlocks) AS deadlocks FROM pg_stat_database",
    );
    let wrongAggregates = 0;
    for (let course = 0; course < courses; course++) {
      wrongAggregates +=
        (await client.query("SELECT FROM playhead_check_course($1)", [toCourseId(course)])).rowCount ?? 0;
    }
    const budgetCutMs = (await server.readMetrics()).get("playhead_budget_cut_ms_total") ?? 0;
    return { machine, deadlocks: Number(rows[0]?.deadlocks), budgetCutMs, wrongAggregates };
  } finally {
    await client.end();
  }
}

async function createDatabase(url: string, name: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  await client.query(`CREATE DATABASE ${name}`);
  await client.end();
  return url.replace(/[^/]+$/, name);
}

function say(line: string): void {
  console.log(line);
}

function sum(values: number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mean(values: number[]): number {
  return sum(values) / values.length;
}

function sumOrNull(values: (number | null)[]): number | null {
  return values.some((value) => value === null) ? null : sum(values as number[]);
}

function merge(counts: Record<string, number>[]): Record<string, number> {
  const merged: Record<string, number> = {};
  for (const count of counts) {
    for (const [name, value] of Object.entries(count)) merged[name] = (merged[name] ?? 0) + value;
  }
  return merged;
}
