/*
 * The statement that makes a batch of heartbeats durable: every rule of progress that needs the stored row is here,
 * once. It runs in a transaction whose first statement was lock_writers('batch', users, courses), so no other batch
 * writes the same users. Rows written by hand are still possible: existing rows are locked where they are read, and
 * a row that appears in between is left alone (WHERE t.id = excluded.id), which shows in `written`.
 */

/** A wider gap between two played ranges stays a gap. A wider bridge would be a way to cheat. */
export const CLOSED_GAP_MS = 250;
/** Past this many ranges a beat that does not lower their number earns nothing. */
export const MAX_FRAGMENTS = 128;
/** A return to a file after this long is logged as `resumed`. */
const RESUMED_AFTER = "5 minutes";

/**
 * One row a heartbeat, as parallel arrays. `ord` is the index of the entry that it answers.
 * An entry whose file is no longer in the expected course is not among the rows returned.
 */
export const BATCH_STATEMENT = `
WITH beat AS MATERIALIZED (
  SELECT b.ord, b.user_id, b.file_id, f.lesson_id, f.course_id, f.duration_ms, f.counted, f.complete_at_ms,
    coalesce(f.credits_at_ms, f.duration_ms) AS end_ms,
    least(b.position_ms, f.duration_ms) AS position_ms,
    (SELECT clock_timestamp()) - b.age_ms * interval '1 millisecond' AS observed_at,
    CASE WHEN upper(b.played) > f.duration_ms THEN b.played * int4multirange(int4range(0, f.duration_ms)) ELSE b.played END AS played,
    b.session COLLATE "C" AS session, b.seq, b.epoch, b.last_session COLLATE "C" AS last_session, b.last_seq,
    b.lead_session COLLATE "C" AS lead_session, b.lead_seqs, b.lead_claims, b.more_claims, b.reported_bp, b.reported_done
  FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::float8[], $6::int4multirange[], $7::text[], $8::bigint[],
      $9::integer[], $10::text[], $11::bigint[], $12::text[], $13::text[], $14::text[], $15::bigint[], $16::integer[], $17::boolean[])
    WITH ORDINALITY AS b (user_id, file_id, course_id, position_ms, age_ms, played, session, seq,
      epoch, last_session, last_seq, lead_session, lead_seqs, lead_claims, more_claims, reported_bp, reported_done, ord)
  JOIN files AS f ON f.id = b.file_id AND f.course_id = b.course_id
), stored AS MATERIALIZED (
  SELECT b.*, p.id, p.position_ms AS old_position_ms, coalesce(p.watched, '{}') AS old_watched, coalesce(p.watched_ms, 0) AS old_watched_ms,
    coalesce(p.watch_time_ms, 0) AS old_watch_time_ms, coalesce(p.reported_bp, 0) AS old_reported_bp,
    coalesce(p.completed, false) AS was_completed, p.completion_source, coalesce(p.epoch, 0) AS row_epoch, p.last_watched,
    p.position_session, p.position_seq, p.writer_session, p.writer_seq, p.duration_ms AS old_duration_ms, p.counted AS old_counted,
    p.lesson_id AS old_lesson_id, p.version AS old_version, p.updated_at,
    p.id IS NOT NULL AND (b.epoch < p.epoch OR b.observed_at <= p.reset_at) IS TRUE AS dropped,
    (p.last_watched IS NULL OR (b.observed_at, b.session, b.seq) > (p.last_watched, p.position_session, p.position_seq)) AS newer
  FROM beat AS b
  LEFT JOIN LATERAL (
    SELECT * FROM user_progress AS p WHERE p.user_id = b.user_id AND p.file_id = b.file_id FOR UPDATE
  ) AS p ON true
), unions AS MATERIALIZED (
  SELECT s.*, u.watched AS new_watched, u.watched_ms AS new_watched_ms,
    u.fragments > ${MAX_FRAGMENTS} AND u.fragments >= (SELECT count(*) FROM unnest(s.old_watched)) AS shattered
  FROM stored AS s
  CROSS JOIN LATERAL (
    SELECT s.old_watched AS watched, s.old_watched_ms AS watched_ms, 0 AS fragments
    WHERE s.dropped OR s.played <@ s.old_watched
    UNION ALL
    SELECT range_agg(int4range(lower(r), upper(r) - ${CLOSED_GAP_MS})), sum(upper(r) - lower(r) - ${CLOSED_GAP_MS})::integer, count(*)
    FROM unnest((
      SELECT range_agg(int4range(lower(r), upper(r) + ${CLOSED_GAP_MS})) FROM unnest(s.old_watched + s.played) AS r
    )) AS r
    WHERE NOT (s.dropped OR s.played <@ s.old_watched)
    HAVING count(*) > 0
  ) AS u
), earned AS MATERIALIZED (
  SELECT u.*,
    CASE WHEN shattered THEN old_watched ELSE new_watched END AS watched,
    CASE WHEN shattered THEN old_watched_ms ELSE new_watched_ms END AS watched_ms,
    (CASE
      WHEN dropped OR shattered THEN 0
      WHEN lead_seqs IS NULL THEN new_watched_ms - old_watched_ms
      ELSE more_claims + CASE
        WHEN writer_session IS DISTINCT FROM lead_session THEN (SELECT coalesce(sum(c), 0) FROM unnest(lead_claims::bigint[]) AS c)
        ELSE (SELECT coalesce(sum(c), 0) FROM unnest(lead_seqs::bigint[], lead_claims::bigint[]) AS l (q, c) WHERE q > coalesce(writer_seq, -1))
      END
    END)::bigint AS growth_ms,
    greatest(old_reported_bp, reported_bp) AS best_reported_bp
  FROM unions AS u
), merged AS MATERIALIZED (
  SELECT e.*,
    CASE WHEN dropped OR NOT newer THEN coalesce(old_position_ms, position_ms) ELSE position_ms END AS final_position_ms,
    CASE WHEN newer AND NOT dropped THEN observed_at ELSE last_watched END AS final_last_watched,
    was_completed OR (NOT dropped AND (coalesce(watched_ms >= complete_at_ms, false) OR reported_done)) AS completed,
    NOT dropped AND (id IS NULL OR newer OR watched_ms <> old_watched_ms OR growth_ms > 0
      OR best_reported_bp <> old_reported_bp OR (NOT was_completed AND (coalesce(watched_ms >= complete_at_ms, false) OR reported_done))
      OR (old_duration_ms, old_counted, old_lesson_id) IS DISTINCT FROM (duration_ms, counted, lesson_id)) AS changed
  FROM earned AS e
), versioned AS MATERIALIZED (
  SELECT m.*, CASE WHEN changed THEN nextval('progress_version') ELSE old_version END AS version,
    CASE WHEN id IS NULL THEN nextval('user_progress_id_seq') ELSE id END AS row_id
  FROM merged AS m
), new_users AS (
  INSERT INTO users (id) SELECT DISTINCT user_id FROM versioned WHERE id IS NULL ORDER BY user_id ON CONFLICT DO NOTHING
), written AS (
  INSERT INTO user_progress AS t (id, user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms, watch_time_ms,
    reported_bp, completed, completion_source, epoch, last_watched, position_session, position_seq, writer_session, writer_seq,
    duration_ms, counted, version, updated_at, beat_at)
  SELECT row_id, user_id, file_id, lesson_id, course_id, final_position_ms, watched, watched_ms, old_watch_time_ms + growth_ms,
    best_reported_bp, completed,
    CASE
      WHEN completion_source IS NOT NULL THEN completion_source
      WHEN watched_ms >= complete_at_ms THEN 'auto'
      WHEN completed THEN 'reported'
    END,
    row_epoch, final_last_watched,
    CASE WHEN newer THEN session ELSE position_session END, CASE WHEN newer THEN seq ELSE position_seq END,
    last_session, CASE WHEN writer_session = last_session THEN greatest(writer_seq, last_seq) ELSE last_seq END,
    duration_ms, counted, version, clock_timestamp(), clock_timestamp()
  FROM versioned WHERE changed ORDER BY user_id, file_id
  ON CONFLICT (user_id, file_id) DO UPDATE SET
    lesson_id = excluded.lesson_id, position_ms = excluded.position_ms, watched = excluded.watched,
    watched_ms = excluded.watched_ms, watch_time_ms = excluded.watch_time_ms, reported_bp = excluded.reported_bp,
    completed = excluded.completed, completion_source = excluded.completion_source, last_watched = excluded.last_watched,
    position_session = excluded.position_session, position_seq = excluded.position_seq,
    writer_session = excluded.writer_session, writer_seq = excluded.writer_seq,
    duration_ms = excluded.duration_ms, counted = excluded.counted, version = excluded.version, updated_at = excluded.updated_at,
    beat_at = excluded.beat_at
  WHERE t.id = excluded.id
  RETURNING 1
), activity AS MATERIALIZED (
  SELECT log_activity(jsonb_agg(jsonb_build_object('user_id', user_id, 'file_id', file_id, 'lesson_id', lesson_id,
    'course_id', course_id, 'activity_type', kind, 'duration_seconds', (old_watch_time_ms + growth_ms) / 1000)))
  FROM (
    SELECT v.*, CASE
      WHEN id IS NULL THEN 'started'
      WHEN updated_at < clock_timestamp() - interval '${RESUMED_AFTER}' THEN 'resumed'
    END AS kind FROM versioned AS v WHERE changed
    UNION ALL
    SELECT v.*, 'completed' FROM versioned AS v WHERE changed AND completed AND NOT was_completed
  ) AS entries
  WHERE kind IS NOT NULL
  HAVING count(*) > 0
)
SELECT ord::integer, lesson_id AS "lessonId", duration_ms AS "durationMs", end_ms AS "endMs", final_position_ms AS "positionMs",
  watched::text, watched_ms AS "watchedMs", old_watch_time_ms + growth_ms AS "watchTimeMs", completed,
  (extract(epoch FROM final_last_watched) * 1000)::float8 AS "lastWatchedMs", row_epoch AS epoch, version, dropped, changed,
  (SELECT count(*) FROM written)::integer AS written, (SELECT count(*) FROM activity)::integer AS logged
FROM versioned
`;
