import { toPlainArray, toTextArray } from "../../src/db/array-literal.ts";
import { MAX_FRAGMENTS } from "../../src/progress/merge-beat.ts";
import { toMultirange } from "../../src/progress/multirange.ts";
import type { PendingBeat } from "../../src/progress/pending-beat.ts";
import { CLOSED_GAP_MS } from "../../src/protocol/ranges.ts";

/*
 * The rules of progress a second time, in SQL, with PostgreSQL's own multiranges and row comparisons. The query reads
 * the rows and computes what a batch of heartbeats makes of them; it writes nothing. `$19` is the current time.
 */

/** Each beat beside its file and its row. */
const SEEN = `
    SELECT b.ord, b.user_id, b.file_id, b.session, b.seq, b.lead_session, b.lead_seqs, b.lead_claims, b.claim, b.reported_done,
      coalesce(b.last_session, b.session) AS last_session, coalesce(b.last_seq, b.seq) AS last_seq,
      b.position_ms AS seen_position_ms, b.played,
      $19::timestamptz - b.age_ms * interval '1 millisecond' AS observed_at,
      b.older_ms * interval '1 millisecond' AS older,
      greatest(p.reported_bp, b.reported_bp) AS reported_bp,
      f.lesson_id, f.course_id, f.duration_ms, f.counted, f.complete_at_ms, coalesce(f.start_ms, 0) AS start_ms,
      coalesce(f.credits_at_ms, f.duration_ms) AS end_ms, p.duration_ms IS DISTINCT FROM f.duration_ms AS has_other_duration,
      p.id, p.version AS old_version, p.beat_at AS old_beat_at, p.position_ms AS old_position_ms,
      p.last_watched, p.position_session, p.position_seq, p.writer_session, p.writer_seq, p.reported_bp AS old_reported_bp,
      coalesce(p.watched, '{}') AS old_watched, coalesce(p.watched_ms, 0) AS old_watched_ms,
      coalesce(p.watch_time_ms, 0) AS old_watch_time_ms, p.completed IS TRUE AS was_completed, p.completion_source,
      coalesce(p.epoch, m.epoch, 0) AS epoch, b.epoch AS beat_epoch, coalesce(p.reset_at, m.reset_at) AS reset_at,
      (p.duration_ms, p.assumed_ms, p.counted, p.lesson_id) IS DISTINCT FROM (f.duration_ms, f.assumed_ms, f.counted, f.lesson_id) AS stale
    FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::float8[], $6::int4multirange[], $7::text[], $8::bigint[],
        $9::integer[], $10::text[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::integer[], $17::boolean[], $18::float8[])
      WITH ORDINALITY AS b (user_id, file_id, course_id, position_ms, age_ms, played, session, seq,
        epoch, last_session, last_seq, lead_session, lead_seqs, lead_claims, claim, reported_bp, reported_done, older_ms, ord)
    CROSS JOIN LATERAL (SELECT * FROM files AS f WHERE f.id = b.file_id OFFSET 0) AS f
    LEFT JOIN LATERAL (SELECT * FROM user_progress AS p WHERE p.user_id = b.user_id AND p.file_id = b.file_id OFFSET 0) AS p ON true
    LEFT JOIN LATERAL (
      SELECT max(m.epoch) AS epoch, max(m.reset_at) AS reset_at FROM reset_marks AS m
      WHERE m.user_id = b.user_id AND m.course_id = b.course_id AND m.file_id IN ('', b.file_id)
    ) AS m ON p.id IS NULL
    WHERE f.course_id = b.course_id
    OFFSET 0`;

/** Of one session the higher number stays; of two sessions the one seen later. */
const NEWER = `CASE
        WHEN s.dropped THEN false
        WHEN s.last_watched IS NULL THEN true
        WHEN s.session = s.position_session AND s.seq >= 0 AND s.position_seq >= 0 THEN
          CASE WHEN s.seq = s.position_seq THEN s.observed_at > s.last_watched ELSE s.seq > s.position_seq END
        ELSE (s.observed_at, s.session, s.seq) > (s.last_watched, s.position_session, s.position_seq)
      END`;
const SEEN_AT = `CASE
        WHEN s.dropped THEN s.last_watched
        WHEN s.session = s.position_session AND s.seq >= 0 AND s.position_seq >= 0 THEN greatest(s.observed_at, s.last_watched)
        ELSE greatest(s.last_watched, s.observed_at)
      END`;

/**
 * Adds which position is newer, and the union of the ranges where it is more than the row has. `dropped` says that the
 * beat is from before a reset. `straddles` says that some of its merged heartbeats are from before a reset and some from
 * after: these are written one by one.
 */
const JOINED = `
    SELECT s.*, ${NEWER} AS newer, ${SEEN_AT} AS seen_at,
      (NOT s.dropped AND s.beat_epoch IS NULL AND s.observed_at - s.older <= s.reset_at) IS TRUE AS straddles,
      CASE WHEN NOT (s.dropped OR (s.played <@ s.old_watched AND (s.id IS NULL OR NOT s.has_other_duration)))
        THEN s.old_watched + s.played END AS added_up
    FROM (SELECT v.*, (CASE WHEN v.beat_epoch IS NULL THEN v.observed_at <= v.reset_at ELSE v.beat_epoch < v.epoch END) IS TRUE AS dropped FROM (${SEEN}) AS v OFFSET 0) AS s
    OFFSET 0`;

/** The end of the last range before the duration. */
const LAST_END = "upper(j.added_up * int4multirange(int4range(0, j.duration_ms)))";
/** Adds the small gaps at both ends. */
const ENDED = `
    SELECT j.*, j.added_up
      + CASE WHEN lower(j.added_up) BETWEEN 1 AND ${CLOSED_GAP_MS} THEN int4multirange(int4range(0, lower(j.added_up))) ELSE '{}' END
      + CASE WHEN j.duration_ms - ${LAST_END} BETWEEN 1 AND ${CLOSED_GAP_MS}
          THEN int4multirange(int4range(${LAST_END}, j.duration_ms)) ELSE '{}' END AS joined
    FROM (${JOINED}) AS j
    OFFSET 0`;

/** The union without small gaps, by three cases: nothing new, one range, several ranges. */
const UNION = `
      SELECT j.old_watched AS watched WHERE j.joined IS NULL
      UNION ALL
      SELECT j.joined WHERE int4multirange(range_merge(j.joined)) = j.joined
      UNION ALL
      SELECT range_agg(int4range(lower(r), upper(r) - ${CLOSED_GAP_MS}))
      FROM unnest((SELECT range_agg(int4range(lower(r), upper(r) + ${CLOSED_GAP_MS})) FROM unnest(j.joined) AS r)) AS r
      WHERE int4multirange(range_merge(j.joined)) <> j.joined
      HAVING count(*) > 0`;

/** Adds the ranges of the row, without the shortest ones past the limit, and what of them counts. */
const EARNED = `
    SELECT j.*, k.watched, m.watched_ms, greatest(0, m.watched_ms - j.old_watched_ms) AS union_growth_ms
    FROM (${ENDED}) AS j
    CROSS JOIN LATERAL (${UNION}) AS u
    CROSS JOIN LATERAL (
      SELECT CASE WHEN j.joined IS NULL THEN j.old_watched ELSE coalesce((
        SELECT range_agg(r) FROM (
          SELECT r FROM unnest(u.watched) AS r ORDER BY upper(r) - lower(r) DESC, lower(r) LIMIT ${MAX_FRAGMENTS}
        ) AS longest
      ), '{}') END AS watched
    ) AS k
    CROSS JOIN LATERAL (
      SELECT CASE WHEN j.joined IS NULL THEN j.old_watched_ms
        ELSE multirange_ms(k.watched * int4multirange(int4range(0, j.duration_ms))) END AS watched_ms
    ) AS m
    OFFSET 0`;

/** Whether what was watched between the boundaries completes the file. */
const REACHED = `(multirange_ms(e.watched * int4multirange(int4range(e.start_ms, e.end_ms))) >= e.complete_at_ms
      AND e.watched_ms >= e.complete_at_ms) IS TRUE`;

/** Adds the watch time: each (session, seq) counts once; a beat without a number counts as much as the union grew. */
const COUNTED = `
    SELECT e.*, ${REACHED} AS reached, e.was_completed OR (NOT e.dropped AND (e.reported_done OR ${REACHED})) AS completed,
      e.old_watch_time_ms + CASE
        WHEN e.dropped THEN 0
        WHEN e.seq < 0 THEN e.union_growth_ms
        WHEN e.lead_seqs IS NULL THEN CASE WHEN e.writer_session = e.session AND e.writer_seq >= e.seq THEN 0 ELSE e.claim END
        ELSE e.claim + (
          SELECT coalesce(sum(length), 0) FROM unnest(e.lead_seqs::bigint[], e.lead_claims::bigint[]) AS l (seq, length)
          WHERE e.writer_session IS DISTINCT FROM e.lead_session OR l.seq > e.writer_seq)::bigint
      END AS watch_time_ms
    FROM (${EARNED}) AS e
    OFFSET 0`;

const MERGED = `
SELECT c.ord::integer, c.id IS NULL AS fresh, c.dropped, c.straddles, c.watched::text, c.watched_ms AS "watchedMs",
  c.epoch, (extract(epoch FROM c.reset_at) * 1000000)::float8 AS "resetAtUs", c.watch_time_ms::integer AS "watchTimeMs", c.reported_bp AS "reportedBp", c.completed,
  CASE WHEN c.newer OR c.id IS NULL THEN c.seen_position_ms ELSE c.old_position_ms END AS "positionMs",
  (extract(epoch FROM c.seen_at) * 1000000)::float8 AS "lastWatchedUs",
  CASE WHEN c.newer THEN c.session ELSE c.position_session END AS "positionSession",
  (CASE WHEN c.newer THEN c.seq ELSE c.position_seq END)::integer AS "positionSeq",
  c.last_session AS "writerSession",
  (CASE WHEN c.writer_session = c.last_session THEN greatest(c.writer_seq, c.last_seq) ELSE c.last_seq END)::integer AS "writerSeq",
  CASE
    WHEN c.completion_source IS NOT NULL THEN c.completion_source
    WHEN c.reached THEN 'auto'
    WHEN c.completed THEN 'reported'
  END AS "completionSource",
  (NOT c.dropped AND NOT c.straddles AND (c.id IS NULL
    OR (c.newer AND (c.seen_position_ms, c.seen_at, c.session) IS DISTINCT FROM (c.old_position_ms, c.last_watched, c.position_session))
    OR c.seen_at <> c.last_watched OR c.stale
    OR c.watched <> c.old_watched OR c.watched_ms <> c.old_watched_ms
    OR c.watch_time_ms <> c.old_watch_time_ms OR c.completed <> c.was_completed OR c.reported_bp <> c.old_reported_bp)) IS TRUE AS changed
FROM (${COUNTED}) AS c
ORDER BY c.ord`;

export interface OracleRow {
  ord: number;
  fresh: boolean;
  dropped: boolean;
  straddles: boolean;
  changed: boolean;
  watched: string;
  watchedMs: number;
  epoch: number;
  resetAtUs: number | null;
  watchTimeMs: number;
  reportedBp: number;
  completed: boolean;
  completionSource: string | null;
  positionMs: number;
  lastWatchedUs: number | null;
  positionSession: string | null;
  positionSeq: number | null;
  writerSession: string | null;
  writerSeq: number | null;
}

/** The query for a batch. `nowMs` is the current time by the clock of the beats, `nowAt` by that of the database. */
export function toOracleQuery(entries: PendingBeat[], { nowMs, nowAt }: { nowMs: number; nowAt: string }) {
  return { text: MERGED, values: [...toParameters(entries, nowMs), nowAt] };
}

function toParameters(entries: PendingBeat[], now: number): string[] {
  const writers = entries.map(toWriterColumns);
  return [
    toTextArray(entries.map((entry) => entry.userId)),
    toTextArray(entries.map((entry) => entry.fileId)),
    toTextArray(entries.map((entry) => entry.courseId)),
    toPlainArray(entries.map((entry) => entry.position.positionMs)),
    toPlainArray(entries.map((entry) => Math.max(0, now - entry.position.observedAtMs))),
    toTextArray(entries.map((entry) => toMultirange(entry.played))),
    toTextArray(entries.map((entry) => entry.position.session)),
    toPlainArray(entries.map((entry) => entry.position.seq)),
    toPlainArray(entries.map((entry) => entry.epoch)),
    toTextArray(writers.map((columns) => columns.lastSession)),
    toPlainArray(writers.map((columns) => columns.lastSeq)),
    toTextArray(writers.map((columns) => columns.leadSession)),
    toTextArray(writers.map((columns) => columns.leadSeqs)),
    toTextArray(writers.map((columns) => columns.leadClaims)),
    toPlainArray(writers.map((columns) => columns.claim)),
    toPlainArray(entries.map((entry) => entry.reportedBp)),
    toPlainArray(entries.map((entry) => entry.reportedDone)),
    toPlainArray(entries.map((entry) => Math.max(0, entry.position.observedAtMs - entry.oldestAtMs))),
  ];
}

interface WriterColumns {
  lastSession: string | null;
  lastSeq: number | null;
  leadSession: string | null;
  leadSeqs: string | null;
  leadClaims: string | null;
  claim: number;
}

const NO_CLAIM: WriterColumns = {
  lastSession: null,
  lastSeq: null,
  leadSession: null,
  leadSeqs: null,
  leadClaims: null,
  claim: 0,
};

/** The new last writer of the row, and the claims to compare with the one before; nulls where a single beat has both. */
function toWriterColumns({ position, claims, lastSession, lastSeq }: PendingBeat): WriterColumns {
  const isLast = lastSession === position.session && lastSeq === position.seq;
  const last = isLast ? NO_CLAIM : { ...NO_CLAIM, lastSession, lastSeq };
  if (claims === null) return last;
  const { session, seqs, lengthsMs, moreMs } = claims;
  const isAlone = seqs.length === 1 && moreMs === 0 && session === position.session && seqs[0] === position.seq;
  if (isAlone) return { ...last, claim: lengthsMs[0] ?? 0 };
  return {
    ...last,
    leadSession: session,
    leadSeqs: toPlainArray(seqs),
    leadClaims: toPlainArray(lengthsMs),
    claim: moreMs,
  };
}
