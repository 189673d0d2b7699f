import { findTool, TOOLS } from "../../test/helpers/tools.ts";
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
      const cpu = {
        server: cost.serverCpuSeconds,
        PostgreSQL: cost.postgresCpuSeconds,
        generator: load.cpuSeconds,
        machine: cost.machineCpuSeconds,
      };
      return toRound({ ...load, cpu }, window);
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

interface PeerGround {
  databaseUrl: string;
  secret: string;
  users: number;
  shape: { courses: number; files: number };
  /** Of all contenders alike. */
  readers: { PostgreSQL: () => Promise<number | null>; machine: () => Promise<number | null> };
}

/** What a peer brings, and how it is ended. */
interface Started {
  contenders: Contender[];
  stop(): Promise<unknown>;
}

/** Starts the peers on a database of their own beside the server's. */
export async function startPeers(server: PlayheadServer, options: IngestOptions): Promise<Peers> {
  const ground: PeerGround = {
    databaseUrl: await createDatabase(server.databaseUrl, DATABASE),
    secret: server.secret,
    users: options.connections,
    shape: options.shape,
    readers: { PostgreSQL: () => readPostgresCpu(server.dataDir), machine: readMachineCpu },
  };
  const started = [await startRecount(ground)];
  // Without Redis the others are worth measuring all the same.
  if (findTool(TOOLS.redis) !== null) started.push(await startUpsert(ground));
  started.push(await startBatches(ground));
  return {
    database: DATABASE,
    contenders: started.flatMap(({ contenders }) => contenders),
    stop: async () => void (await Promise.all(started.map((one) => one.stop()))),
  };
}

async function startRecount({ readers, ...given }: PeerGround): Promise<Started> {
  const peer = await startRecountPeer(given);
  const contender: Contender = {
    name: NAMES.recount,
    async measure(window) {
      const [load, cpu] = await Promise.all([
        peer.load(window),
        watchCounters({ ...readers, server: peer.cpuSeconds, generator: peer.clientCpuSeconds }, window),
      ]);
      return toRound({ ...load, latencies: [load.latencies], cpu }, window);
    },
  };
  return { contenders: [contender], stop: () => peer.stop() };
}

async function startUpsert({ readers, ...given }: PeerGround): Promise<Started> {
  const peer = await startUpsertPeer(given);
  const players = await openPlayers(
    { url: peer.url, secret: given.secret },
    { connections: given.users, shape: given.shape },
  );
  const contender = (isEmitting: boolean): Contender => ({
    name: isEmitting ? NAMES.upsert : NAMES.upsertSilent,
    async measure(window) {
      await peer.emit(isEmitting);
      const [load, cpu] = await Promise.all([
        loadPlayers(players, window),
        watchCounters({ ...readers, server: peer.cpuSeconds, Redis: peer.redisCpuSeconds }, window),
      ]);
      return toRound({ ...load, cpu: { ...cpu, generator: load.cpuSeconds } }, window);
    },
  });
  return {
    contenders: [contender(true), contender(false)],
    async stop() {
      await closePlayers(players);
      await peer.stop();
    },
  };
}

/** Their only client is this process. */
async function startBatches({ databaseUrl, readers, users, shape }: PeerGround): Promise<Started> {
  const bare = await openBareBatches(databaseUrl);
  onEnd(() => bare.end());
  const copies = await openCopies(databaseUrl);
  onEnd(() => copies.end());
  const contender = (name: string, given: { write(rows: BareRow[]): Promise<void>; empty?(): Promise<void> }) => {
    const load = new BareLoad(given.write, { users, shape });
    return {
      name,
      async measure(window: Window): Promise<Round> {
        await given.empty?.();
        const [{ rows, seconds }, cpu] = await Promise.all([
          load.load(window),
          watchCounters({ ...readers, generator: ownCpuSeconds }, window),
        ]);
        return { heartbeats: rows, seconds, latencies: [], cpu, refused: {} };
      },
    };
  };
  return {
    contenders: [contender(NAMES.bare, bare), contender(NAMES.copy, copies)],
    stop: () => Promise.all([bare.end(), copies.end()]),
  };
}

function toRound(
  load: { acked: number; latencies: string[]; refused: Record<string, number>; cpu: Round["cpu"] },
  { seconds }: Window,
): Round {
  const { acked: heartbeats, latencies, refused, cpu } = load;
  return { heartbeats, seconds, latencies, refused, cpu };
}

async function ownCpuSeconds(): Promise<number> {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}
