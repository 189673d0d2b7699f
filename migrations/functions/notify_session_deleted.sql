CREATE OR REPLACE FUNCTION notify_session_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('stream_keys', json_build_object('streamId', OLD.stream_id, 'drop', json_build_object(
    'server', OLD.server, 'boot', OLD.boot, 'connection', OLD.connection, 'sessionId', OLD.claim, 'reason', 'revoked'))::text);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION notify_session_deleted IS 'Names the connection that a media server has to drop. The deleted row can no longer be read, so the notification holds all of it.';

CREATE OR REPLACE TRIGGER notify_session_deleted AFTER DELETE ON stream_sessions FOR EACH ROW
  WHEN (OLD.state = 'live') EXECUTE FUNCTION notify_session_deleted();
