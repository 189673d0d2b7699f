-- The settings hold for the plans of this function alone: look-ups by index, however small the tables were when the connection
-- made its plan. OFFSET 0 keeps the planner from turning a look-up into a join.
CREATE OR REPLACE FUNCTION look_up_rows(user_ids text[], file_ids text[]) RETURNS TABLE (
  ord bigint, version bigint, lesson_id text, position_ms integer, watched int4multirange, watched_ms integer,
  watch_time_ms bigint, reported_bp integer, completed boolean, completion_source text, epoch integer, reset_at float8,
  last_watched float8, position_session text, position_seq bigint, writer_session text, writer_seq bigint, beat_at float8,
  duration_ms integer, counted boolean, assumed_ms integer
) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT b.ord, coalesce(p.version, m.version), p.lesson_id, p.position_ms, p.watched, p.watched_ms, p.watch_time_ms, p.reported_bp, p.completed,
    p.completion_source, coalesce(p.epoch, m.epoch), date_part('epoch', coalesce(p.reset_at, m.reset_at)), date_part('epoch', p.last_watched),
    p.position_session COLLATE "default", p.position_seq, p.writer_session COLLATE "default", p.writer_seq,
    date_part('epoch', p.beat_at), p.duration_ms, p.counted, p.assumed_ms
  FROM unnest(user_ids, file_ids) WITH ORDINALITY AS b (user_id, file_id, ord)
  LEFT JOIN LATERAL (
    SELECT * FROM user_progress AS p WHERE p.user_id = b.user_id AND p.file_id = b.file_id OFFSET 0
  ) AS p ON true
  LEFT JOIN LATERAL (SELECT f.course_id FROM files AS f WHERE p.version IS NULL AND f.id = b.file_id OFFSET 0) AS f ON true
  CROSS JOIN LATERAL reset_mark(CASE WHEN p.version IS NULL THEN b.user_id END, f.course_id, b.file_id) AS m
  WHERE p.version IS NOT NULL OR m.epoch > 0;
END $$;
COMMENT ON FUNCTION look_up_rows IS 'Reads progress rows by their keys; ord is the place of a key in the arrays. Where there is only a mark it has epoch, reset_at and version, and lesson_id is null. Times are seconds since 1970.';
