import { setTimeout as pause } from "node:timers/promises";
import { randomPort, startLoad } from "../harness/child-process.ts";
import { createDatabase } from "../load/database.ts";
import { startPlayhead } from "../load/playhead-server.ts";
import type { ConnectStorm, StormReport } from "./storm-clients.ts";

/*
 * Kills a node with all its connections, and starts it again at once, as a supervisor does.
 */

export type Storm = Awaited<ReturnType<typeof measureStorm>>;

const SHAPE = { courses: 10, files: 20 };
/** Other users than those of the idle connections. */
const FIRST_USER = 2_000_000;
const GIVE_UP_MS = 60_000;
const SETTLE_MS = 3000;

/** `databaseUrl` leads to a PostgreSQL that runs on when the node dies. */
export async function measureStorm(databaseUrl: string, connections: number) {
  const env = { DATABASE_URL: await createDatabase(databaseUrl, "storm"), PORT: String(randomPort()) };
  const first = await startPlayhead({ env });
  await first.putCourses(SHAPE);
  const { url, secret } = first;
  const argument: ConnectStorm = { url, secret, shape: SHAPE, firstUser: FIRST_USER, count: connections };
  const clients = await startLoad(new URL("./storm-clients.ts", import.meta.url), argument);
  await pause(SETTLE_MS);
  await clients.call("forget");

  const now = () => performance.timeOrigin + performance.now();
  const diedAt = now();
  await first.kill();
  const second = await startPlayhead({ env: { ...env, AUTH_SECRET: secret } });
  const startedAgainMs = now() - diedAt;
  let report: StormReport;
  do {
    await pause(250);
    report = await clients.call<StormReport>("report");
  } while (report.ackedAt.length < connections && now() - diedAt - startedAgainMs < GIVE_UP_MS);
  const sinceDeath = (times: number[]) => times.map((at) => at - diedAt).sort((a, b) => a - b);
  return {
    connections,
    /** Times since the death: of the new node's start, of the reconnects and of the acks, sorted. */
    startedAgainMs,
    connectedMs: sinceDeath(report.connectedAt),
    ackedMs: sinceDeath(report.ackedAt),
    missing: connections - report.ackedAt.length,
    attempts: report.attempts,
    refused: report.refused,
    /** CPU of the new process until all players were back. */
    serverCpuSeconds: (await second.read()).server ?? Number.NaN,
  };
}
