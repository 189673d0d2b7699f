import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { startChild } from "../harness/child-process.ts";
import { readWholeNumber } from "../harness/flags.ts";
import { cpuSeconds } from "../harness/process-cpu.ts";
import { type Findings, type Run, type Subcommand, within } from "../harness/section.ts";
import { measureInTurn } from "../harness/window.ts";
import { startPlayhead } from "../load/playhead-server.ts";
import { type ConnectionsContender, type Idle, measureIdle, NAMES, openContenders, toLetInPlan } from "./idle.ts";
import type { LetInPlan } from "./idle-clients.ts";
import { toSection } from "./section.ts";
import { measureStorm } from "./storm.ts";

/*
 * The steps of a run: the idle connections of each contender; then how fast the contenders let connections in, in turn;
 * then a node that dies.
 */

const MOST_CONNECTIONS = 20_000;
const STEPS = [500, 5000, 10_000, 20_000];
const QUICK_STEPS = [500, 2000];
/** File descriptors of a server that are not connections. */
const OTHER_FILES = 500;
const VERIFICATIONS = 2000;

export const connections: Subcommand = {
  name: "connections",
  summary: "memory and CPU of idle connections, how fast the server lets them in, and the time after a node dies",
  flags: {
    "--connections N": "idle connections at the most (default 20000)",
    "--storm N": "connections of the node that dies (default 10000)",
    "--rounds N": "rounds of letting in, of which the median counts (default 3)",
  },
  limitSeconds: 900,
  run: measureConnections,
};

async function measureConnections({ isQuick, flags, tell }: Run): Promise<Findings> {
  const number = (name: string, usual: number, least: number, most: number) =>
    readWholeNumber(flags, name, { usual, least, most });
  const wanted = number("connections", isQuick ? 2000 : MOST_CONNECTIONS, 1000, MOST_CONNECTIONS);
  const stormed = number("storm", isQuick ? 1500 : 10_000, 500, MOST_CONNECTIONS);
  const rounds = number("rounds", isQuick ? 1 : 3, 1, 9);
  const room = openFilesLimit() - OTHER_FILES;
  const most = Math.min(wanted, room);
  const steps = [...(isQuick ? QUICK_STEPS : STEPS).filter((step) => step < most), most];
  // Long enough for one ping of every connection.
  const quietSeconds = isQuick ? 15 : 30;

  tell("building and starting the servers", 0);
  const server = await startPlayhead();
  const clients = startChild(new URL("./idle-clients.ts", import.meta.url));
  const contenders = await openContenders(server, clients);
  const idle: Idle[] = [];
  for (const [i, contender] of contenders.entries()) {
    tell(`${contender.name}: idle connections`, 0.05 + 0.2 * i);
    idle.push(await measureIdle(contender, clients, { wanted: steps, quietSeconds }));
  }

  const count = isQuick ? 500 : 2000;
  const [{ load, ...playhead }] = contenders as [ConnectionsContender];
  // Playhead again, with connections that join no namespace.
  const engine = { ...playhead, name: NAMES.engine, load: (plan: LetInPlan) => load({ ...plan, namespace: null }) };
  const planOf = (round: number) => toLetInPlan(round * count, count);
  // Node compiles the servers' code in the warm-up round.
  const turns = { rounds, warmupRounds: 1, planOf, tell: within(tell, 0.65, 0.85) };
  const letIn = await measureInTurn([...contenders, engine], turns);
  const verifyMicros = await measureVerification(server.secret);

  tell(`a node dies with ${stormed} connections`, 0.9);
  const storm = await measureStorm(server.databaseUrl, Math.min(stormed, room));
  return toSection({ wanted, idle, letIn, count, verifyMicros, storm, rounds, quietSeconds });
}

/** The limit after Node raised it to the hard limit, which it does at its start. */
function openFilesLimit(): number {
  const { userLimits } = process.report.getReport() as unknown as {
    userLimits?: { open_files?: { soft: number | "unlimited" } };
  };
  const limit = userLimits?.open_files?.soft;
  return typeof limit === "number" ? limit : Number.POSITIVE_INFINITY;
}

async function measureVerification(secret: string): Promise<number> {
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 3600 });
  const { token } = await tokens.mint({ userId: "loadtest-user", role: "learner" });
  const verifyAll = () => Promise.all(Array.from({ length: VERIFICATIONS }, () => tokens.verify(token)));
  await verifyAll();
  const before = cpuSeconds();
  await verifyAll();
  return ((cpuSeconds() - before) * 1e6) / VERIFICATIONS;
}
