import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../../test/helpers/database.ts";
import { createRandom } from "../../../test/helpers/random.ts";
import {
  createStreamSteps,
  LEASE_SECONDS,
  type StreamSteps,
  type TestStream,
} from "../../../test/helpers/stream-sessions.ts";
import { createPool, type Pool } from "../../db/pool.ts";
import { AppError } from "../../errors.ts";
import { createLogger } from "../../logger.ts";
import { createKeyExpiry } from "../keys/key-expiry.ts";
import { hashStreamKey } from "../keys/stream-key.ts";
import { SessionDeadlines } from "../sessions/session-deadlines.ts";
import { SessionStore } from "../sessions/session-store.ts";
import { createStreamService } from "../stream-service.ts";
import { ClaimWriter } from "./claim-writer.ts";

/*
 * Encoders, media servers, owners, psql and the clock all work at once on few streams, over several pools as several
 * processes would. There is no deadlock, steps fail only by their rules, and in the end streams and sessions agree.
 */

const STREAMS = 4;
const ACTORS = 12;
const STEPS = 80;
const EXPECTED = new Set(["not_found", "conflict"]);
const STATUSES = ["revoked", "disabled", "expired", "ended", "ready"];

describe("a storm on few streams", () => {
  let database: TestDatabase;
  let steps: StreamSteps;
  let pools: Pool[];
  const logger = createLogger({ level: "silent" });

  beforeAll(async () => {
    database = await createTestDatabase();
    steps = createStreamSteps(database);
    pools = [1, 2].map((n) =>
      createPool({ connectionString: database.url, max: 6, queryTimeoutMs: 20_000, applicationName: `p${n}`, logger }),
    );
  });
  afterAll(async () => {
    await Promise.all(pools.map((pool) => pool.end()));
    await database.drop();
  });

  it("ends without a deadlock, with no error but those of the rules, and with one session a stream", async () => {
    const streams: TestStream[] = [];
    for (let i = 0; i < STREAMS; i++) {
      const policy = i % 2 ? "takeover" : "first_wins";
      streams.push(await steps.newStream({ policy, reconnectWindowSeconds: i, userId: `user-${i % 2}` }));
    }
    const expiries = pools.map((pool) => createKeyExpiry({ pool, logger }));
    const unexpected: unknown[] = [];
    const counts = new Map<string, number>();

    async function act(actor: number): Promise<void> {
      const random = createRandom(actor + 1);
      const pool = pools[actor % pools.length] as Pool;
      const store = new SessionStore({ pool }, { defaultReconnectSeconds: 60 });
      const writer = new ClaimWriter({ pool }, { defaultReconnectSeconds: 60 });
      const deadlines = new SessionDeadlines({ pool }, { defaultReconnectSeconds: 60 });
      const service = createStreamService({ pool }, { maxStreamsPerUser: 1000, defaultReconnectSeconds: 60 });
      const owner = { server: `edge-${actor % 3}`, boot: "b1" };
      const sessions: string[] = [];
      const anySession = () => sessions[random.below(sessions.length)] ?? "none";
      for (let step = 0; step < STEPS; step++) {
        const stream = streams[random.below(STREAMS)] as TestStream;
        const at = { server: owner.server, connection: `c${random.below(3)}`, keyHash: hashStreamKey(stream.key) };
        const what: [string, () => Promise<unknown>][] = [
          [
            "claim",
            async () => {
              const result = await steps.claim(
                stream,
                at.connection,
                { ...owner, starts: random.below(2) === 0 },
                writer,
              );
              if (result.valid) sessions.push(result.sessionId);
            },
          ],
          ["start", () => store.start(owner, anySession(), LEASE_SECONDS)],
          [
            "report",
            () => store.report(owner, anySession(), { viewers: random.below(9), bitrateKbps: 100 }, LEASE_SECONDS),
          ],
          ["end", () => store.end(owner, anySession(), "ended")],
          ["reportConnection", () => store.reportConnection(at, { mediaTimeMs: step }, LEASE_SECONDS)],
          ["endConnection", () => store.endConnection(at, "ended")],
          ["sweep", () => deadlines.sweep(stream.id)],
          [
            "psql",
            () =>
              pool.query("UPDATE streams SET status = $2 WHERE id = $1", [
                stream.id,
                STATUSES[random.below(STATUSES.length)],
              ]),
          ],
          ["enable", () => service.enable(stream.id)],
          [
            "ready",
            () => pool.query("UPDATE streams SET status = 'ready', expires_at = NULL WHERE id = $1", [stream.id]),
          ],
          ["lease lost", () => steps.pass(stream, "lease_until")],
          ["window passed", () => steps.pass(stream, "reconnect_until")],
          ["reservation lapsed", () => steps.pass(stream, "reserved_until")],
          [
            "expiry",
            async () => {
              await pool.query("UPDATE streams SET expires_at = clock_timestamp() WHERE id = $1", [stream.id]);
              expiries[actor % pools.length]?.arm();
            },
          ],
          ["settings", () => service.change(stream.id, { title: `t${step}` })],
        ];
        // Half of the steps are those of media servers, so that there are sessions to end.
        const [name, work] = what[
          random.below(2) ? random.below(7) : random.below(what.length)
        ] as (typeof what)[number];
        try {
          await work();
          counts.set(name, (counts.get(name) ?? 0) + 1);
        } catch (error) {
          if (!(error instanceof AppError && EXPECTED.has(error.code))) unexpected.push([name, error]);
        }
      }
    }

    await Promise.all(Array.from({ length: ACTORS }, (_, actor) => act(actor)));
    for (const expiry of expiries) expiry.stop();
    expect(unexpected).toEqual([]);
    // Steps of nearly every kind succeeded.
    expect([...counts.keys()].length).toBeGreaterThan(12);
    expect(await steps.findDisagreements()).toEqual([]);
    const [row] = await database.query<{ deadlocks: number }>(
      "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    );
    expect(row?.deadlocks).toBe(0);
  });

  it("survives the deletion of users while their keys expire and their streams are claimed", async () => {
    const unexpected: unknown[] = [];
    const [first, second] = pools as [Pool, Pool];
    const expiries = pools.map((pool) => createKeyExpiry({ pool, logger }));
    for (let round = 0; round < 15; round++) {
      const streams = await Promise.all(Array.from({ length: 6 }, () => steps.newStream({ userId: "leaver" })));
      await Promise.all(streams.map((stream) => steps.claim(stream, "c1", { starts: true })));
      await first.query(
        "UPDATE streams SET expires_at = clock_timestamp() + random() * interval '5 ms' WHERE user_id = 'leaver'",
      );
      const note = (error: unknown) => void unexpected.push(error);
      await Promise.all([
        ...expiries.map((expiry) => expiry.arm()),
        second.query("DELETE FROM users WHERE id = 'leaver'").catch(note),
        ...streams.map((stream) => steps.claim(stream, "c2").catch(note)),
        ...streams.map((stream) => steps.deadlines.sweep(stream.id).catch(note)),
      ]);
    }
    for (const expiry of expiries) expiry.stop();
    expect(unexpected).toEqual([]);
    expect(await steps.findDisagreements()).toEqual([]);
    const [row] = await database.query<{ deadlocks: number }>(
      "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()",
    );
    expect(row?.deadlocks).toBe(0);
  });
});
