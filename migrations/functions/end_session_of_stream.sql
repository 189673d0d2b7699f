CREATE OR REPLACE FUNCTION end_session_of_stream() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE stream_sessions SET state = 'ended', end_reason = reason, drop_reason = reason,
    ended_at = coalesce(ended_at, CASE WHEN OLD.status IN ('live', 'reconnecting') THEN NEW.ended_at END, clock_timestamp())
    FROM (SELECT CASE NEW.status WHEN 'ready' THEN 'ended' ELSE NEW.status END) AS why (reason)
    WHERE stream_id = NEW.id AND state <> 'ended';
  RETURN NULL;
END $$;
COMMENT ON FUNCTION end_session_of_stream IS 'Ends the session of a stream whose status says that nobody publishes, whoever wrote that status.';

CREATE OR REPLACE TRIGGER end_session_of_stream AFTER UPDATE OF status ON streams FOR EACH ROW
  WHEN (NEW.status IS DISTINCT FROM OLD.status AND NEW.status IN ('ready', 'ended', 'expired', 'revoked', 'disabled'))
  EXECUTE FUNCTION end_session_of_stream();
