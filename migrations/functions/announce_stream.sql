-- A stream whose encoder comes back within the time to reconnect has neither ended nor begun.
CREATE OR REPLACE FUNCTION announce_stream() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM announce_event(
    CASE WHEN NEW.status = 'live' THEN 'stream_live' ELSE 'stream_ended' END,
    jsonb_build_object('streamId', NEW.id, 'userId', NEW.user_id, 'title', NEW.title, 'status', NEW.status,
      'startedAt', NEW.started_at, 'endedAt', NEW.ended_at, 'version', NEW.version));
  RETURN NULL;
END $$;
COMMENT ON FUNCTION announce_stream IS 'Announces that a stream went live, or that it ended.';

CREATE OR REPLACE TRIGGER announce_stream AFTER UPDATE ON streams FOR EACH ROW
  WHEN ((NEW.status IN ('live', 'reconnecting')) IS DISTINCT FROM (OLD.status IN ('live', 'reconnecting')))
  EXECUTE FUNCTION announce_stream();
