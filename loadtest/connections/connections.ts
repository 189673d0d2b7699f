import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { onEnd } from "../harness/cleanup.ts";
import { readWholeNumber } from "../harness/flags.ts";
import type { Run, Section, Subcommand } from "../harness/section.ts";
import { startPlayhead } from "../load/playhead-server.ts";
import { type Door, measureAccepting } from "./accept.ts";
import { startPeers, toPlayheadContender } from "./contenders.ts";
import { startCrowd } from "./crowd.ts";
import { type Idle, measureIdle } from "./idle.ts";
import { toSection } from "./report.ts";
import { measureStorm } from "./storm.ts";

const MOST_CONNECTIONS = 20_000;
const STEPS = [500, 5000, 10_000, 20_000];
const QUICK_STEPS = [500, 2000];
/** A server has other files than its connections. */
const OTHER_FILES = 500;
/** At least one ping of everybody. */
const CPU_SECONDS = 30;
const QUICK_CPU_SECONDS = 15;
const VERIFICATIONS = 2000;

export const connections: Subcommand = {
  name: "connections",
  summary: "memory and CPU of idle connections, how fast they are let in, and what happens when a node dies",
  flags: {
    "--connections N": "idle connections at the most (default 20000)",
    "--storm N": "connections of the node that dies (default 10000)",
    "--rounds N": "rounds of letting in, of which the median counts (default 3)",
  },
  limitSeconds: 900,
  run: measureConnections,
};

async function measureConnections(run: Run): Promise<Section> {
  const { isQuick, flags, progress } = run;
  const wanted = readWholeNumber(flags, "connections", {
    usual: isQuick ? 2000 : MOST_CONNECTIONS,
    least: 1000,
    most: MOST_CONNECTIONS,
  });
  const most = Math.min(wanted, openFilesLimit() - OTHER_FILES);
  const steps = [...(isQuick ? QUICK_STEPS : STEPS).filter((step) => step < most), most];
  const stormed = readWholeNumber(flags, "storm", {
    usual: isQuick ? 1500 : 10_000,
    least: 500,
    most: MOST_CONNECTIONS,
  });
  const rounds = readWholeNumber(flags, "rounds", { usual: isQuick ? 1 : 3, most: 9 });

  progress("building and starting the servers", 0);
  const server = await startPlayhead();
  const [playhead, [socketIo, bare]] = await Promise.all([toPlayheadContender(server), startPeers(server.secret)]);
  if (socketIo === undefined || bare === undefined) throw new Error("the peers did not start");
  const contenders = [playhead, socketIo, bare];
  const crowd = startCrowd();
  onEnd(() => crowd.stop());
  const { secret } = server;

  const idle: Idle[] = [];
  for (const [i, contender] of contenders.entries()) {
    idle.push(
      await measureIdle(
        { contender, crowd, secret },
        {
          steps,
          cpuSeconds: isQuick ? QUICK_CPU_SECONDS : CPU_SECONDS,
          onStep: (open) => progress(`${contender.name}: ${open} idle connections`, 0.05 + 0.2 * i),
        },
      ),
    );
  }

  const doors: Door[] = [
    ...contenders.map((contender) => ({ name: contender.name, contender, depth: contender.depth })),
    { name: `${playhead.name}, as far as Engine.IO`, contender: playhead, depth: "engine" },
  ];
  const accepted = await measureAccepting(
    doors,
    { crowd, secret },
    {
      rounds,
      count: isQuick ? 500 : 2000,
      onRound: (name, done) => progress(`${name}: letting in`, 0.65 + 0.2 * done),
    },
  );
  const verifyMicros = await measureVerification(secret);
  await crowd.stop();

  progress(`a node dies with ${stormed} connections`, 0.9);
  const storm = await measureStorm(
    { url: server.databaseUrl },
    { connections: Math.min(stormed, openFilesLimit() - OTHER_FILES), sdkConnections: isQuick ? 100 : 300 },
  );
  return toSection({ wanted, idle, accepted, verifyMicros, storm, rounds, isQuick });
}

/** Node raises its limit to the hard one by itself. */
function openFilesLimit(): number {
  const { userLimits } = process.report.getReport() as unknown as {
    userLimits?: { open_files?: { soft: number | "unlimited" } };
  };
  const limit = userLimits?.open_files?.soft;
  return typeof limit === "number" ? limit : Number.POSITIVE_INFINITY;
}

/** What the check of a token costs by itself, in CPU. */
async function measureVerification(secret: string): Promise<number> {
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 3600 });
  const { token } = await tokens.mint({ userId: "loadtest-user", role: "learner" });
  const verifyAll = () => Promise.all(Array.from({ length: VERIFICATIONS }, () => tokens.verify(token)));
  await verifyAll();
  const before = process.cpuUsage();
  await verifyAll();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / VERIFICATIONS;
}
