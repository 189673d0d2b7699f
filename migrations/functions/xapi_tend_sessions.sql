-- A session ends only when its user's next heartbeat must call xapi_progress, which begins another one: idle may not be shorter
-- than the gap in the condition of its trigger. Under the lock of the user no heartbeat is on its way into the row. The sessions
-- of a user whose lock is taken are looked at again in the next round.
CREATE OR REPLACE FUNCTION xapi_tend_sessions(idle interval, ids uuid[]) RETURNS integer LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  session xapi_sessions;
  progress user_progress;
  is_idle boolean;
  ended integer := 0;
  session_id uuid;
  busy_users text[] := '{}';
BEGIN
  FOR session IN SELECT * FROM xapi_sessions AS s WHERE s.id = ANY (ids) ORDER BY s.begun_at, s.id LOOP
    session_id := session.id;
    CONTINUE WHEN session.user_id = ANY (busy_users);
    -- The second time under the lock.
    FOR try IN 1..2 LOOP
      SELECT * INTO session FROM xapi_sessions AS s WHERE s.id = session_id;
      EXIT WHEN NOT FOUND;
      SELECT * INTO progress FROM user_progress AS p WHERE p.user_id = session.user_id AND p.file_id = session.file_id;
      IF NOT FOUND THEN
        -- The row is gone, with its file perhaps: nothing is left to state.
        DELETE FROM xapi_sessions AS s WHERE s.id = session_id;
        EXIT;
      END IF;
      is_idle := clock_timestamp() - idle >= CASE WHEN xapi_player(progress.writer_session) = session.player
        THEN progress.beat_at ELSE coalesce(session.seen_at, progress.beat_at) END;
      EXIT WHEN session.stated AND NOT coalesce(is_idle, true);
      IF try = 1 THEN
        -- The row in users too, before rows that go with it: somebody may be deleting the user.
        PERFORM FROM users AS u WHERE u.id = session.user_id FOR KEY SHARE SKIP LOCKED;
        IF NOT FOUND OR NOT pg_try_advisory_xact_lock(user_lock(session.user_id)) THEN
          busy_users := busy_users || session.user_id;
          EXIT;
        END IF;
      ELSIF coalesce(is_idle, true) THEN
        PERFORM xapi_end_session(session, progress);
        ended := ended + 1;
      ELSE
        PERFORM xapi_begin_session(session, progress);
      END IF;
    END LOOP;
  END LOOP;
  RETURN ended;
END $$;
COMMENT ON FUNCTION xapi_tend_sessions IS 'States the beginnings of sessions, and ends those in which nothing was written for so long. In the order of their beginnings. Returns how many have ended.';
