import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../test/helpers/database.ts";
import { createStreamSteps, LEASE_SECONDS, type StreamSteps } from "../../../test/helpers/stream-sessions.ts";

const EDGE = { server: "edge", boot: "b1" };
const HALF_A_DAY_SECONDS = 12 * 3600;

let database: TestDatabase;
let steps: StreamSteps;

beforeAll(async () => {
  database = await createTestDatabase();
  steps = createStreamSteps(database);
});
afterAll(() => database.drop());

/** A stream with a session. @returns the seconds until its deadlines */
async function begin(leaseSeconds: number | null) {
  const stream = await steps.newStream({});
  const claimed = await steps.claim(stream, `connection of ${stream.id}`);
  if (!claimed.valid) throw new Error(claimed.reason);
  if (leaseSeconds !== null) await steps.store.start(EDGE, claimed.sessionId, leaseSeconds);
  return {
    sessionId: claimed.sessionId,
    async secondsLeft() {
      const [row] = await database.query<{ seconds: number }>(
        `SELECT extract(epoch FROM coalesce(lease_until, reconnect_until, reserved_until) - clock_timestamp())::float8 AS seconds
         FROM stream_sessions WHERE stream_id = $1`,
        [stream.id],
      );
      return row?.seconds;
    },
  };
}

it("are brought back within the time that each gives, after the clock was set back by an hour", async () => {
  const [reserved, live, longLive, left] = [
    await begin(null),
    await begin(LEASE_SECONDS),
    await begin(HALF_A_DAY_SECONDS),
    await begin(LEASE_SECONDS),
  ];
  await steps.store.end(EDGE, left.sessionId, "gone");
  const before = await left.secondsLeft();
  await database.query(
    `UPDATE stream_sessions SET lease_until = lease_until + interval '1 hour', reserved_until = reserved_until + interval '1 hour',
       reconnect_until = reconnect_until + interval '1 hour'`,
  );
  for (let i = 0; i < 2; i++) {
    await steps.deadlines.shorten();
    for (const [session, most] of [
      [reserved, 10],
      [live, LEASE_SECONDS],
      [longLive, HALF_A_DAY_SECONDS],
      [left, Math.ceil(before ?? 0)],
    ] as const) {
      const seconds = await session.secondsLeft();
      expect(seconds).toBeLessThanOrEqual(most);
      expect(seconds).toBeGreaterThan(most - 10);
    }
  }
});
