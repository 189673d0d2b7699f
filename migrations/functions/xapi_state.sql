-- Nothing is stated of a file of unknown duration: the profile asks for the length in almost every statement.
CREATE OR REPLACE FUNCTION xapi_state(statement_verb text, progress user_progress, session uuid, statement_id uuid) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
  place bigint;
BEGIN
  INSERT INTO xapi_statements (id, user_id, course_id, lesson_id, file_id, verb, session_id, registration, "timestamp", title,
    duration_ms, threshold, position_ms, watched, watched_ms, watch_time_ms, reached)
  SELECT statement_id, progress.user_id, f.course_id, f.lesson_id, f.id, statement_verb, session,
    xapi_registration(progress.user_id, f.course_id, progress.epoch), coalesce(progress.last_watched, clock_timestamp()), f.title,
    f.duration_ms,
    ceil(1000 * coalesce(f.completion_threshold, c.completion_threshold, 0.90)
      * greatest(least(coalesce(f.credits_at_ms, f.duration_ms), f.duration_ms) - coalesce(f.start_ms, 0), 1) / f.duration_ms) / 1000,
    least(progress.position_ms, f.duration_ms), progress.watched, progress.watched_ms, progress.watch_time_ms,
    coalesce(watched_within(progress.watched, coalesce(f.start_ms, 0), coalesce(f.credits_at_ms, f.duration_ms)) >= f.complete_at_ms, false)
  FROM files AS f JOIN courses AS c ON c.id = f.course_id
  WHERE f.id = progress.file_id AND f.duration_ms IS NOT NULL
  ON CONFLICT DO NOTHING
  RETURNING seq INTO place;
  IF place IS NOT NULL AND (SELECT value FROM settings WHERE name = 'xapi') = 'forward' THEN
    INSERT INTO xapi_queue (seq) VALUES (place);
  END IF;
END $$;
COMMENT ON FUNCTION xapi_state IS 'Writes a statement, and queues it while there is a learning record store. A second completed of a registration is none.';
