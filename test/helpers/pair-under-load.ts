import { afterEach, beforeEach } from "vitest";
import { type DatabaseAddress, openDatabaseAddress } from "./database-address.ts";
import { FILE_IDS, type FlowEnvironment, putLoadCourse, startFlowServer, users } from "./flow-server.ts";
import { type Load, startLoad } from "./load-players.ts";
import { type PostgresPair, startPostgresPair } from "./postgres-pair.ts";
import type { ServerProcess } from "./server-process.ts";
import { mintToken } from "./tokens.ts";

const PLAYERS = 10;

/** A primary and its standby, one address that leads to either, and a server under load at that address. */
export interface PairUnderLoad {
  pair: PostgresPair;
  address: DatabaseAddress;
  server: ServerProcess;
  load: Load;
}

/** Starts all of it before each test, with every player acked twice, and stops it after the test. */
export function usePairUnderLoad(
  { env, settings }: { env: FlowEnvironment; settings?: Record<string, string> },
  onStarted: (started: PairUnderLoad) => void,
): void {
  let started: Partial<PairUnderLoad> = {};
  beforeEach(async () => {
    started = {};
    const pair = await startPostgresPair(settings);
    started.pair = pair;
    const address = await openDatabaseAddress(pair.primaryPort);
    started.address = address;
    const server = await startFlowServer({ ...env, DATABASE_URL: address.urlOf(pair.primary.url) });
    started.server = server;
    await putLoadCourse(server.url);
    const load = await startLoad({ url: server.url, users: users(PLAYERS), fileIds: FILE_IDS, mintToken });
    started.load = load;
    await load.ackedMore(2 * load.streams.length);
    onStarted({ pair, address, server, load });
  });
  afterEach(async () => {
    const { load, server, address, pair } = started;
    load?.stop();
    await server?.kill();
    await address?.stop();
    await pair?.stop();
  });
}
