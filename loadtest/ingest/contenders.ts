import { onEnd } from "../harness/cleanup.ts";
import { readMachineCpu, readPostgresCpu } from "../harness/process-cpu.ts";
import type { Worker } from "../harness/worker.ts";
import { type Cost, watchCost, watchCounters } from "../load/cost-window.ts";
import { closePlayers, connectPlayers, loadPlayers, startPlayers } from "../load/player-processes.ts";
import type { PlayheadServer } from "../load/playhead-server.ts";
import { type BareRow, openBareBatches } from "../peers/bare-batch.ts";
import { openCopies } from "../peers/copy-limit.ts";
import { startRecountPeer } from "../peers/recount-peer.ts";
import { startUpsertPeer } from "../peers/socketio-upsert/socketio-upsert-peer.ts";
import { BareLoad } from "./bare-load.ts";
import type { Contender, Round, Window } from "./contender.ts";
import { createDatabase } from "./database.ts";
import type { IngestOptions } from "./options.ts";

/*
 * Playhead and what it is compared with, all on its PostgreSQL; each is measured while the others are silent.
 */

export const NAMES = {
  playhead: "Playhead",
  recount: "(a) POST, upsert, recount",
  upsert: "(b) Socket.IO, upsert",
  upsertSilent: "(b) without the emit",
  bare: "(d) bare batch",
  copy: "(d) COPY",
} as const;

const DATABASE = "peers";
/** One sends and reads more than two cores can write, and costs less than two. */
const PLAYER_PROCESSES = 1;

export interface Peers {
  contenders: Contender[];
  /** Theirs, in the server's PostgreSQL. */
  database: string;
  stop(): Promise<void>;
}

export function playheadContender(
  server: PlayheadServer,
  players: Worker[],
  onCost: (cost: Cost) => void = () => undefined,
): Contender {
  return {
    name: NAMES.playhead,
    async measure(window) {
      const [load, cost] = await Promise.all([loadPlayers(players, window), watchCost(server, window)]);
      onCost(cost);
      return {
        heartbeats: load.acked,
        perSecond: load.perSecond,
        latencies: load.latencies,
        cpu: {
          server: cost.serverCpuSeconds,
          PostgreSQL: cost.postgresCpuSeconds,
          generator: load.cpuSeconds,
          machine: cost.machineCpuSeconds,
        },
        refused: load.refused,
      };
    },
  };
}

export async function openPlayers(
  server: Pick<PlayheadServer, "url" | "secret">,
  { connections, shape }: Pick<IngestOptions, "connections" | "shape">,
): Promise<Worker[]> {
  const players = startPlayers(PLAYER_PROCESSES);
  await connectPlayers(players, { server, firstUser: 0, count: connections, shape });
  return players;
}

/** Starts the peers on a database of their own beside the server's. */
export async function startPeers(server: PlayheadServer, options: IngestOptions): Promise<Peers> {
  const databaseUrl = await createDatabase(server.databaseUrl, DATABASE);
  const given = { databaseUrl, secret: server.secret, users: options.connections, shape: options.shape };
  const shared = { PostgreSQL: () => readPostgresCpu(server.dataDir), machine: readMachineCpu };

  const recount = await startRecountPeer(given);
  const recountContender: Contender = {
    name: NAMES.recount,
    async measure(window) {
      const [load, cpu] = await Promise.all([
        recount.load(window),
        watchCounters({ ...shared, server: recount.cpuSeconds, generator: recount.clientCpuSeconds }, window),
      ]);
      return toRound({ ...load, latencies: [load.latencies], cpu }, window);
    },
  };

  const upsert = await startUpsertPeer(given);
  const players = await openPlayers({ url: upsert.url, secret: server.secret }, options);
  const upsertContender = (isEmitting: boolean): Contender => ({
    name: isEmitting ? NAMES.upsert : NAMES.upsertSilent,
    async measure(window) {
      await upsert.emit(isEmitting);
      const [load, cpu] = await Promise.all([
        loadPlayers(players, window),
        watchCounters({ ...shared, server: upsert.cpuSeconds, Redis: upsert.redisCpuSeconds }, window),
      ]);
      return toRound({ ...load, cpu: { ...cpu, generator: load.cpuSeconds } }, window);
    },
  });

  const bare = await openBareBatches(databaseUrl);
  onEnd(() => bare.end());
  const copies = await openCopies(databaseUrl);
  onEnd(() => copies.end());
  const batchContender = (name: string, write: (rows: BareRow[]) => Promise<void>): Contender => {
    const load = new BareLoad(write, given);
    return {
      name,
      async measure(window) {
        const [{ rows, seconds }, cpu] = await Promise.all([
          load.load(window),
          watchCounters({ ...shared, generator: ownCpuSeconds }, window),
        ]);
        return { heartbeats: rows, perSecond: rows / seconds, latencies: [], cpu, refused: {} };
      },
    };
  };
  const copyContender = batchContender(NAMES.copy, (rows) => copies.write(rows));

  return {
    database: DATABASE,
    contenders: [
      recountContender,
      upsertContender(true),
      upsertContender(false),
      batchContender(NAMES.bare, (rows) => bare.write(rows)),
      {
        name: copyContender.name,
        async measure(window) {
          await copies.empty();
          return await copyContender.measure(window);
        },
      },
    ],
    async stop() {
      await Promise.all([recount.stop(), closePlayers(players), bare.end(), copies.end()]);
      await upsert.stop();
    },
  };
}

function toRound(
  load: { acked: number; latencies: string[]; refused: Record<string, number>; cpu: Round["cpu"] },
  { seconds }: Window,
): Round {
  const { acked, latencies, refused, cpu } = load;
  return { heartbeats: acked, perSecond: acked / seconds, latencies, refused, cpu };
}

async function ownCpuSeconds(): Promise<number> {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
