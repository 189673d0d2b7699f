-- The conditions of the triggers are looked at for every row that a heartbeat writes. The function runs where a player begins,
-- comes back after a while or takes over from another one, for completions and for resets. What it writes is durable with the
-- heartbeat. The gap in the condition is the shortest time after which xapi_tend_sessions may end a session.
CREATE OR REPLACE FUNCTION xapi_progress() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  open_session xapi_sessions;
  now_playing text := xapi_player(NEW.writer_session);
BEGIN
  IF current_setting('playhead.announce', true) = 'off' OR coalesce((SELECT value FROM settings WHERE name = 'xapi'), 'off') = 'off' THEN
    RETURN NULL;
  END IF;
  IF TG_OP = 'UPDATE' AND NEW.epoch <> OLD.epoch THEN
    FOR open_session IN SELECT * FROM xapi_sessions AS s WHERE s.user_id = OLD.user_id AND s.file_id = OLD.file_id LOOP
      PERFORM xapi_end_session(open_session, OLD);
    END LOOP;
  END IF;
  IF TG_OP = 'UPDATE' AND xapi_player(OLD.writer_session) <> now_playing THEN
    UPDATE xapi_sessions AS s SET seen_at = OLD.beat_at, last_watched = OLD.last_watched, position_ms = OLD.position_ms
      WHERE s.user_id = OLD.user_id AND s.file_id = OLD.file_id AND s.player = xapi_player(OLD.writer_session);
  END IF;
  IF now_playing IS NOT NULL AND NEW.duration_ms IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.beat_at IS DISTINCT FROM OLD.beat_at) THEN
    INSERT INTO xapi_sessions (user_id, file_id, player, begun_at)
      VALUES (NEW.user_id, NEW.file_id, now_playing, coalesce(NEW.last_watched, NEW.beat_at, clock_timestamp()))
      ON CONFLICT (user_id, file_id, player) DO NOTHING;
  END IF;
  IF NEW.completed AND NEW.completion_source = 'auto' AND (TG_OP = 'INSERT' OR NOT OLD.completed) THEN
    SELECT * INTO open_session FROM xapi_sessions AS s
      WHERE s.user_id = NEW.user_id AND s.file_id = NEW.file_id AND s.player = now_playing;
    IF FOUND THEN
      PERFORM xapi_begin_session(open_session, NEW);
    END IF;
    PERFORM xapi_state('completed', NEW, open_session.id, gen_random_uuid());
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION xapi_progress IS 'States what a change of progress means in the xAPI Video Profile.';

CREATE OR REPLACE TRIGGER xapi_insert AFTER INSERT ON user_progress FOR EACH ROW
  WHEN (NEW.beat_at IS NOT NULL OR NEW.completed) EXECUTE FUNCTION xapi_progress();
CREATE OR REPLACE TRIGGER xapi_update AFTER UPDATE ON user_progress FOR EACH ROW
  WHEN (NEW.writer_session IS DISTINCT FROM OLD.writer_session OR NEW.beat_at > OLD.beat_at + interval '90 seconds'
    OR (NEW.completed AND NOT OLD.completed) OR NEW.epoch <> OLD.epoch)
  EXECUTE FUNCTION xapi_progress();
