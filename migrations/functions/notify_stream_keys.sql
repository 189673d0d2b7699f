CREATE OR REPLACE FUNCTION notify_stream_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('stream_keys', json_build_object('streamId', coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> TG_ARGV[0])::text);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION notify_stream_keys IS 'Names the changed stream to every process: each remembers keys that it has seen, and tells its media servers what to drop. The argument is the column that holds the id of the stream.';

CREATE OR REPLACE TRIGGER notify_stream_keys_update AFTER UPDATE ON streams FOR EACH ROW
  WHEN (
    (NEW.key_hash, NEW.previous_key_hash, NEW.previous_key_until, NEW.expires_at, NEW.policy)
      IS DISTINCT FROM (OLD.key_hash, OLD.previous_key_hash, OLD.previous_key_until, OLD.expires_at, OLD.policy)
    OR (NEW.status <> OLD.status AND (NEW.status IN ('expired', 'revoked', 'disabled') OR OLD.status IN ('expired', 'revoked', 'disabled')))
  )
  EXECUTE FUNCTION notify_stream_keys('id');
CREATE OR REPLACE TRIGGER notify_stream_keys_insert AFTER INSERT ON streams FOR EACH ROW
  WHEN (NEW.expires_at IS NOT NULL) EXECUTE FUNCTION notify_stream_keys('id');
CREATE OR REPLACE TRIGGER notify_stream_keys_delete AFTER DELETE ON streams FOR EACH ROW EXECUTE FUNCTION notify_stream_keys('id');
CREATE OR REPLACE TRIGGER notify_session_end AFTER UPDATE ON stream_sessions FOR EACH ROW
  WHEN (NEW.state = 'ended' AND OLD.state <> 'ended') EXECUTE FUNCTION notify_stream_keys('stream_id');
