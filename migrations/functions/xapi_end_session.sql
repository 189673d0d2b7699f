-- The profile wants paused before terminated, and nothing of the session after it.
CREATE OR REPLACE FUNCTION xapi_end_session(session xapi_sessions, progress user_progress) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  is_completed boolean;
BEGIN
  PERFORM xapi_begin_session(session, progress);
  IF xapi_player(progress.writer_session) IS DISTINCT FROM session.player THEN
    progress.position_ms := coalesce(session.position_ms, progress.position_ms);
    progress.last_watched := coalesce(session.last_watched, progress.last_watched);
  END IF;
  -- Watched in full after it was completed in another way, so that no trigger has seen it.
  SELECT progress.completed AND progress.watched_ms >= f.complete_at_ms
    AND watched_within(progress.watched, coalesce(f.start_ms, 0), coalesce(f.credits_at_ms, f.duration_ms)) >= f.complete_at_ms
    INTO is_completed FROM files AS f WHERE f.id = progress.file_id;
  IF is_completed THEN
    PERFORM xapi_state('completed', progress, session.id, gen_random_uuid());
  END IF;
  PERFORM xapi_state('paused', progress, session.id, gen_random_uuid());
  PERFORM xapi_state('terminated', progress, session.id, gen_random_uuid());
  DELETE FROM xapi_sessions WHERE id = session.id;
END $$;
COMMENT ON FUNCTION xapi_end_session IS 'Ends a session where the row of progress, or its former writer, was last seen.';
