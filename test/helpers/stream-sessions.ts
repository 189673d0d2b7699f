import { randomUUID } from "node:crypto";
import type { Claim, ClaimResult } from "../../src/streams/claims/claim.ts";
import { ClaimWriter } from "../../src/streams/claims/claim-writer.ts";
import { hashStreamKey } from "../../src/streams/keys/stream-key.ts";
import { SessionDeadlines } from "../../src/streams/sessions/session-deadlines.ts";
import { SessionStore } from "../../src/streams/sessions/session-store.ts";
import { createStreamService } from "../../src/streams/stream-service.ts";
import type { TestDatabase } from "./database.ts";

/*
 * Steps of streams and their sessions. Time passes by writing it: to let a lease run out, its end is moved into the past.
 */

export const LEASE_SECONDS = 30;

/** A claim of the media server `edge`, without stream and connection. */
export const CLAIM_OF_EDGE = {
  server: "edge",
  boot: "b1",
  app: null,
  clientIp: null,
  protocol: null,
  leaseSeconds: LEASE_SECONDS,
  starts: false,
  mayOust: "any",
} as const;

export interface TestStream {
  id: string;
  key: string;
}

export interface SessionRow {
  id: number;
  claim: string;
  server: string;
  boot: string;
  connection: string;
  state: string;
  end_reason: string | null;
  drop_reason: string | null;
  connections: number;
  peak_viewers: number | null;
  mean_bitrate_kbps: number | null;
  started_at: Date | null;
  ended_at: Date | null;
  lease_until: Date | null;
  reserved_until: Date | null;
  provisional: boolean;
}

export type Deadline = "reserved_until" | "lease_until" | "reconnect_until";

export function createStreamSteps(database: TestDatabase) {
  const service = createStreamService(database, { maxStreamsPerUser: 1_000_000, defaultReconnectSeconds: 60 });
  const store = new SessionStore(database, { defaultReconnectSeconds: 60 });
  const writer = new ClaimWriter(database, { defaultReconnectSeconds: 60 });
  const deadlines = new SessionDeadlines(database, { defaultReconnectSeconds: 60 });

  async function newStream(settings: Partial<Parameters<typeof service.create>[0]> = {}): Promise<TestStream> {
    const { stream, streamKey } = await service.create({ userId: "ines", title: "Talk", ...settings });
    return { id: stream.id, key: streamKey };
  }

  return {
    service,
    store,
    deadlines,
    newStream,

    /** Claims for `connection` of the server `edge`, unless `who` says otherwise. */
    claim(stream: TestStream, connection: string, who: Partial<Claim> = {}, by = writer): Promise<ClaimResult> {
      return by.write({
        sessionId: randomUUID(),
        streamId: stream.id,
        keyHash: hashStreamKey(stream.key),
        ...CLAIM_OF_EDGE,
        connection,
        ...who,
      });
    },

    async statusOf(stream: { id: string }): Promise<string | undefined> {
      const [row] = await database.query<{ status: string }>("SELECT status FROM streams WHERE id = $1", [stream.id]);
      return row?.status;
    },

    /** The stream's sessions, the oldest first. */
    sessionsOf(stream: { id: string }): Promise<SessionRow[]> {
      return database.query<SessionRow & Record<string, unknown>>(
        "SELECT * FROM stream_sessions WHERE stream_id = $1 ORDER BY id",
        [stream.id],
      );
    },

    /** Moves this deadline of the stream's session into the past. */
    async pass(stream: { id: string }, what: Deadline): Promise<void> {
      await database.query(
        `UPDATE stream_sessions SET ${what} = clock_timestamp() - interval '1 ms'
         WHERE stream_id = $1 AND state <> 'ended' AND ${what} IS NOT NULL`,
        [stream.id],
      );
    },

    /** Finds streams that disagree with their sessions. @returns what is wrong, in words */
    async findDisagreements(): Promise<string[]> {
      const rows = await database.query<{ wrong: string }>(DISAGREEMENTS);
      return rows.map(({ wrong }) => wrong);
    },
  };
}

export type StreamSteps = ReturnType<typeof createStreamSteps>;

const DISAGREEMENTS = `
  WITH joined AS (
    SELECT s.id, s.status, s.bitrate_kbps, s.viewers, s.started_at, s.ended_at, a.state, a.reserved_until, last.started_at AS last_started,
      last.ended_at AS last_ended, last.end_reason AS last_reason
    FROM streams AS s
    LEFT JOIN stream_sessions AS a ON a.stream_id = s.id AND a.state <> 'ended'
    LEFT JOIN LATERAL (
      SELECT * FROM stream_sessions WHERE stream_id = s.id AND started_at IS NOT NULL ORDER BY id DESC LIMIT 1
    ) AS last ON true
  )
  SELECT format('%s is %s, its session %s: %s', id, status, coalesce(state, 'none'), rule) AS wrong
  FROM joined, LATERAL (VALUES
    ('live, and no live session', status = 'live' AND state IS DISTINCT FROM 'live'),
    ('a live session of what is not live', state = 'live' AND status <> 'live'),
    ('reconnecting alone', (status = 'reconnecting') <> (coalesce(state, '') = 'reconnecting')),
    ('refused, and something is on', status IN ('revoked', 'disabled', 'expired') AND state IS NOT NULL),
    ('figures of what is not live', status <> 'live' AND (bitrate_kbps IS NOT NULL OR viewers IS NOT NULL)),
    ('live since another time than its session', status = 'live' AND started_at <> last_started),
    ('live, and ended before', status = 'live' AND ended_at IS NOT NULL),
    ('ended, and nobody knows when', status = 'ended' AND ended_at IS NULL),
    ('ended at another time than its session', status = 'ended' AND state IS NULL AND ended_at <> last_ended),
    ('reserved without an end', state = 'reserved' AND reserved_until IS NULL)
  ) AS rules (rule, is_broken)
  WHERE is_broken
  UNION ALL
  SELECT format('session %s of %s: %s', id, stream_id, rule)
  FROM stream_sessions, LATERAL (VALUES
    ('ended before it started', ended_at < started_at),
    ('ended, and it says not why', state = 'ended' AND end_reason IS NULL)
  ) AS rules (rule, is_broken)
  WHERE is_broken`;
