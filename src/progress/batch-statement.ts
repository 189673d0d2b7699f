/*
 * The statement that makes a batch of heartbeats durable: every rule of progress that needs the stored row is here,
 * once. It runs in a transaction whose first statement was lock_writers('batch', users, courses), so no other batch
 * writes the same users. Rows written by hand are still possible: a row is updated only where it has the very version
 * that was read (`base_version`). Where somebody was faster, fewer rows are `written` than `changed`, and the batch is
 * tried again.
 *
 * The statement is planned once a connection, perhaps while the tables are empty. So nothing in it leaves the planner a
 * choice that goes wrong when they are large: rows are looked up one by one (LATERAL) and upserted, never joined the
 * other way round. `OFFSET 0` keeps it from pulling a subquery up, which would undo that, and would evaluate
 * the subquery's expressions again at every use.
 */

/** A wider gap between two played ranges stays a gap. A wider bridge would be a way to cheat. */
export const CLOSED_GAP_MS = 250;
/** Past this many ranges a beat that does not lower their number earns nothing. */
export const MAX_FRAGMENTS = 128;
/** A return to a file after this long is logged as `resumed`. */
const RESUMED_AFTER = "5 minutes";

/** A beat beside its file and its row. `dropped`: it belongs to before a reset. */
const SEEN = `
    SELECT b.ord, b.user_id, b.file_id, b.session, b.seq, b.lead_session, b.lead_seqs, b.lead_claims, b.claim, b.reported_done,
      coalesce(b.last_session, b.session) AS last_session, coalesce(b.last_seq, b.seq) AS last_seq,
      least(b.position_ms, f.duration_ms) AS seen_position_ms,
      (SELECT clock_timestamp()) - b.age_ms * interval '1 millisecond' AS observed_at,
      b.older_ms * interval '1 millisecond' AS older,
      CASE WHEN upper(b.played) > f.duration_ms THEN b.played * int4multirange(int4range(0, f.duration_ms)) ELSE b.played END AS played,
      greatest(p.reported_bp, b.reported_bp) AS reported_bp,
      f.lesson_id, f.course_id, f.duration_ms, f.counted, f.complete_at_ms, coalesce(f.credits_at_ms, f.duration_ms) AS end_ms,
      p.id, p.version AS old_version, p.beat_at AS old_beat_at, p.position_ms AS old_position_ms,
      p.last_watched, p.position_session, p.position_seq, p.writer_session, p.writer_seq, p.reported_bp AS old_reported_bp,
      coalesce(p.watched, '{}') AS old_watched, coalesce(p.watched_ms, 0) AS old_watched_ms,
      coalesce(p.watch_time_ms, 0) AS old_watch_time_ms, p.completed IS TRUE AS was_completed, p.completion_source,
      coalesce(p.epoch, 0) AS epoch, b.epoch < p.epoch AS outdated, p.reset_at,
      (p.duration_ms, p.counted, p.lesson_id) IS DISTINCT FROM (f.duration_ms, f.counted, f.lesson_id) AS stale
    FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::float8[], $6::int4multirange[], $7::text[], $8::bigint[],
        $9::integer[], $10::text[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::integer[], $17::boolean[], $18::float8[])
      WITH ORDINALITY AS b (user_id, file_id, course_id, position_ms, age_ms, played, session, seq,
        epoch, last_session, last_seq, lead_session, lead_seqs, lead_claims, claim, reported_bp, reported_done, older_ms, ord)
    CROSS JOIN LATERAL (SELECT * FROM files AS f WHERE f.id = b.file_id OFFSET 0) AS f
    LEFT JOIN LATERAL (SELECT * FROM user_progress AS p WHERE p.user_id = b.user_id AND p.file_id = b.file_id OFFSET 0) AS p ON true
    WHERE f.course_id = b.course_id
    OFFSET 0`;

/**
 * Which position is newer, and the union where it is more than what the row has. `straddles`: of the heartbeats that
 * were merged some were observed before a reset and some after, so they are to be written one by one.
 */
const JOINED = `
    SELECT s.*, (s.last_watched IS NULL OR (s.observed_at, s.session, s.seq) > (s.last_watched, s.position_session, s.position_seq))
        AND NOT s.dropped AS newer,
      (NOT s.dropped AND s.observed_at - s.older <= s.reset_at) IS TRUE AS straddles,
      CASE WHEN NOT (s.dropped OR s.played <@ s.old_watched) THEN s.old_watched + s.played END AS joined
    FROM (SELECT v.*, (v.outdated OR v.observed_at <= v.reset_at) IS TRUE AS dropped FROM (${SEEN}) AS v OFFSET 0) AS s
    OFFSET 0`;

/** Nothing new; one range without a gap, as whoever watches from the start has; or several, to be taken apart. */
const UNION = `
      SELECT j.old_watched AS watched, j.old_watched_ms AS watched_ms, 0 AS fragments WHERE j.joined IS NULL
      UNION ALL
      SELECT j.joined, upper(j.joined) - lower(j.joined), 1 WHERE int4multirange(range_merge(j.joined)) = j.joined
      UNION ALL
      SELECT range_agg(int4range(lower(r), upper(r) - ${CLOSED_GAP_MS})), sum(upper(r) - lower(r) - ${CLOSED_GAP_MS})::integer, count(*)
      FROM unnest((SELECT range_agg(int4range(lower(r), upper(r) + ${CLOSED_GAP_MS})) FROM unnest(j.joined) AS r)) AS r
      WHERE int4multirange(range_merge(j.joined)) <> j.joined
      HAVING count(*) > 0`;

/** What the beat earns. `shattered`: too many fragments, and no fewer than before. */
const EARNED = `
    SELECT j.*, u.watched_ms - j.old_watched_ms AS union_growth_ms, shattered,
      CASE WHEN shattered THEN j.old_watched ELSE u.watched END AS watched,
      CASE WHEN shattered THEN j.old_watched_ms ELSE u.watched_ms END AS watched_ms
    FROM (${JOINED}) AS j
    CROSS JOIN LATERAL (${UNION}) AS u
    CROSS JOIN LATERAL (
      SELECT u.fragments > ${MAX_FRAGMENTS} AND u.fragments >= (SELECT count(*) FROM unnest(j.old_watched)) AS shattered
    ) AS f
    OFFSET 0`;

/** Time spent: once a (session, seq); without a number as much as the union grew. */
const COUNTED = `
    SELECT e.*, e.was_completed OR (NOT e.dropped AND (e.reported_done OR (e.watched_ms >= e.complete_at_ms) IS TRUE)) AS completed,
      e.old_watch_time_ms + CASE
        WHEN e.dropped OR e.shattered THEN 0
        WHEN e.seq < 0 THEN e.union_growth_ms
        WHEN e.lead_seqs IS NULL THEN CASE WHEN e.writer_session = e.session AND e.writer_seq >= e.seq THEN 0 ELSE e.claim END
        ELSE e.claim + (
          SELECT coalesce(sum(length), 0) FROM unnest(e.lead_seqs::bigint[], e.lead_claims::bigint[]) AS l (seq, length)
          WHERE e.writer_session IS DISTINCT FROM e.lead_session OR l.seq > e.writer_seq)::bigint
      END AS watch_time_ms
    FROM (${EARNED}) AS e
    OFFSET 0`;

/**
 * `logged` is read for its effect: PostgreSQL runs a SELECT in WITH only where something asks for it.
 * One row a heartbeat, as parallel arrays. `ord` is the index of the entry that it answers.
 * An entry whose file is no longer in the expected course is not among the rows returned.
 */
export const BATCH_STATEMENT = `
WITH merged AS MATERIALIZED (
  SELECT m.*, CASE WHEN changed THEN nextval('progress_version') ELSE old_version END AS version
  FROM (
    SELECT c.ord, c.user_id, c.file_id, c.lesson_id, c.course_id, c.duration_ms, c.counted, c.end_ms, c.id, c.old_version,
      c.old_beat_at, c.was_completed, c.epoch, c.dropped, c.straddles, c.watched, c.watched_ms, c.watch_time_ms, c.reported_bp, c.completed,
      CASE WHEN c.newer OR c.id IS NULL THEN c.seen_position_ms ELSE c.old_position_ms END AS position_ms,
      CASE WHEN c.newer THEN c.observed_at ELSE c.last_watched END AS last_watched,
      CASE WHEN c.newer THEN c.session ELSE c.position_session END AS position_session,
      CASE WHEN c.newer THEN c.seq ELSE c.position_seq END AS position_seq,
      c.last_session AS writer_session,
      CASE WHEN c.writer_session = c.last_session THEN greatest(c.writer_seq, c.last_seq) ELSE c.last_seq END AS writer_seq,
      CASE
        WHEN c.completion_source IS NOT NULL THEN c.completion_source
        WHEN c.watched_ms >= c.complete_at_ms THEN 'auto'
        WHEN c.completed THEN 'reported'
      END AS completion_source,
      NOT c.dropped AND NOT c.straddles AND (c.id IS NULL OR c.newer OR c.stale OR c.watched_ms <> c.old_watched_ms OR c.watch_time_ms <> c.old_watch_time_ms
        OR c.completed <> c.was_completed OR c.reported_bp <> c.old_reported_bp) AS changed
    FROM (${COUNTED}) AS c
    OFFSET 0
  ) AS m
), new_users AS (
  INSERT INTO users (id) SELECT DISTINCT user_id FROM merged WHERE id IS NULL ORDER BY user_id ON CONFLICT DO NOTHING
), written AS (
  INSERT INTO user_progress AS t (id, user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms, watch_time_ms,
    reported_bp, completed, completion_source, last_watched, position_session, position_seq, writer_session, writer_seq,
    duration_ms, counted, version, base_version, updated_at, beat_at)
  SELECT coalesce(id, nextval('user_progress_id_seq')), user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms,
    watch_time_ms, reported_bp, completed, completion_source, last_watched, position_session, position_seq, writer_session,
    writer_seq, duration_ms, counted, version, old_version, clock_timestamp(), clock_timestamp()
  FROM merged WHERE changed ORDER BY user_id, file_id
  ON CONFLICT (user_id, file_id) DO UPDATE SET
    lesson_id = excluded.lesson_id, position_ms = excluded.position_ms, watched = excluded.watched,
    watched_ms = excluded.watched_ms, watch_time_ms = excluded.watch_time_ms, reported_bp = excluded.reported_bp,
    completed = excluded.completed, completion_source = excluded.completion_source, last_watched = excluded.last_watched,
    position_session = excluded.position_session, position_seq = excluded.position_seq,
    writer_session = excluded.writer_session, writer_seq = excluded.writer_seq, duration_ms = excluded.duration_ms,
    counted = excluded.counted, version = excluded.version, base_version = excluded.base_version,
    updated_at = excluded.updated_at, beat_at = excluded.beat_at
  WHERE t.version = excluded.base_version
  RETURNING 1
), activity AS MATERIALIZED (
  SELECT log_activity(jsonb_agg(jsonb_build_object('user_id', user_id, 'file_id', file_id, 'lesson_id', lesson_id,
    'course_id', course_id, 'activity_type', kind, 'duration_seconds', watch_time_ms / 1000)))
  FROM (
    SELECT m.*, CASE
      WHEN id IS NULL THEN 'started'
      WHEN old_beat_at < clock_timestamp() - interval '${RESUMED_AFTER}' THEN 'resumed'
    END AS kind FROM merged AS m WHERE changed
    UNION ALL
    SELECT m.*, 'completed' FROM merged AS m WHERE changed AND completed AND NOT was_completed
  ) AS entries
  WHERE kind IS NOT NULL
  HAVING count(*) > 0
)
SELECT ord::integer, lesson_id AS "lessonId", duration_ms AS "durationMs", end_ms AS "endMs", position_ms AS "positionMs",
  watched::text, watched_ms AS "watchedMs", watch_time_ms AS "watchTimeMs", completed,
  (extract(epoch FROM last_watched) * 1000)::float8 AS "lastWatchedMs", epoch, version, dropped, straddles, changed,
  (SELECT count(*) FROM written)::integer AS written,
  (SELECT count(*) FROM activity)::integer AS logged
FROM merged
`;
