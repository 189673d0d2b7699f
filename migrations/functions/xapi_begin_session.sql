CREATE OR REPLACE FUNCTION xapi_begin_session(session xapi_sessions, progress user_progress) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE xapi_sessions AS s SET stated = true WHERE s.id = session.id AND NOT s.stated;
  IF FOUND THEN
    progress.last_watched := session.begun_at;
    PERFORM xapi_state('initialized', progress, session.id, session.id);
  END IF;
END $$;
COMMENT ON FUNCTION xapi_begin_session IS 'States initialized, before anything else of the session is stated; the second time it does nothing.';
