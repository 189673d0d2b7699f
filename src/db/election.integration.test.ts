import { setTimeout as delay } from "node:timers/promises";
import pg from "pg";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";
import { Election } from "./election.ts";

const logger = pino({ level: "silent" });

let database: TestDatabase;
interface Candidate {
  election: Election;
  said: string[];
  bus: { isThere: boolean };
}
let candidates: Candidate[];
beforeEach(async () => {
  database = await createTestDatabase();
  candidates = [];
});
afterEach(async () => {
  await Promise.all(candidates.map(({ election }) => election.stop()));
  await database.drop();
});

/** Starts a candidate, whose bus the test can take away. */
function stand(): Candidate {
  const said: string[] = [];
  const bus = { isThere: true };
  const election = new Election({
    duty: "relay",
    connectionString: database.url,
    isAble: () => bus.isThere,
    onElected: () => said.push("elected"),
    onDismissed: () => said.push("dismissed"),
    logger,
  });
  const candidate = { election, said, bus };
  candidates.push(candidate);
  election.start();
  return candidate;
}

const holders = () => candidates.filter(({ election }) => election.isHolder);
const oneHolder = () => waitFor(() => holders().length === 1 && holders()[0], { what: "one holder" });

/** Ends the connection that has the lock, as the death of its process would. */
async function endHolder(): Promise<void> {
  const client = new pg.Client({ connectionString: database.url });
  await client.connect();
  await client.query(
    "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND classid = 7702 AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
  );
  await client.end();
}

describe("an election", () => {
  it("has one holder among many candidates", async () => {
    for (let i = 0; i < 5; i++) stand();
    await oneHolder();
    expect(candidates.flatMap(({ said }) => said)).toEqual(["elected"]);
  });

  it("is won by another candidate after the holder has stopped", async () => {
    const first = stand();
    await oneHolder();
    const second = stand();
    await first.election.stop();
    await waitFor(() => second.election.isHolder, { what: "the second to hold it" });
    expect(first.said).toEqual(["elected", "dismissed"]);
  });

  it("dismisses a holder whose connection ends, and elects one again", async () => {
    const first = stand();
    await oneHolder();
    await endHolder();
    await waitFor(() => first.said.includes("dismissed"), { what: "the holder to know" });
    await oneHolder();
  });

  it("dismisses a holder that can no longer do the duty, and elects a candidate that can", async () => {
    const first = stand();
    await oneHolder();
    const second = stand();
    first.bus.isThere = false;
    await waitFor(() => second.election.isHolder, { what: "the second to hold it" });
    expect(first.said).toEqual(["elected", "dismissed"]);
    expect(holders()).toEqual([second]);
  });

  it("leaves no connection open, however early it is stopped", async () => {
    for (const ms of [0, 1, 2, 4, 8, 16]) {
      const { election } = stand();
      await delay(ms);
      await election.stop();
      expect(election.isHolder).toBe(false);
    }
    const left = () =>
      database.query(
        "SELECT FROM pg_stat_activity WHERE application_name = 'playhead-relay' AND datname = current_database()",
      );
    await waitFor(async () => (await left()).length === 0, { what: "no connection left" });
  });

  it("elects for each database of a server alone", async () => {
    stand();
    await oneHolder();
    const other = await createTestDatabase();
    const elsewhere = new Election({
      duty: "relay",
      connectionString: other.url,
      isAble: () => true,
      onElected: () => undefined,
      onDismissed: () => undefined,
      logger,
    });
    elsewhere.start();
    await waitFor(() => elsewhere.isHolder, { what: "a holder there as well" });
    await elsewhere.stop();
    await other.drop();
  });
});
