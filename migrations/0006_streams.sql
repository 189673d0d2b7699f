-- Up Migration

CREATE TABLE streams (
  id text PRIMARY KEY DEFAULT gen_random_uuid()::text CHECK (char_length(id) BETWEEN 1 AND 128),
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  title text NOT NULL CHECK (char_length(title) BETWEEN 1 AND 500),
  key_hash bytea NOT NULL UNIQUE CHECK (octet_length(key_hash) = 32),
  key_prefix text NOT NULL,
  previous_key_hash bytea UNIQUE CHECK (octet_length(previous_key_hash) = 32),
  previous_key_until timestamptz,
  status text NOT NULL DEFAULT 'ready'
    CHECK (status IN ('ready', 'live', 'reconnecting', 'ended', 'expired', 'revoked', 'disabled')),
  policy text NOT NULL DEFAULT 'first_wins' CHECK (policy IN ('first_wins', 'takeover')),
  reconnect_seconds integer CHECK (reconnect_seconds BETWEEN 0 AND 1800),
  bitrate_kbps integer CHECK (bitrate_kbps >= 0),
  viewers integer CHECK (viewers >= 0),
  expires_at timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  version bigint NOT NULL DEFAULT nextval('progress_version'),
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CHECK ((previous_key_hash IS NULL) = (previous_key_until IS NULL))
) WITH (fillfactor = 70);
CREATE INDEX streams_user ON streams (user_id, id);
CREATE INDEX streams_expiry ON streams (expires_at) WHERE expires_at IS NOT NULL AND status NOT IN ('expired', 'revoked');
COMMENT ON TABLE streams IS 'Who may publish live, and whether somebody does. The key itself is nowhere.';
COMMENT ON COLUMN streams.key_hash IS 'SHA-256 of the stream key. A key is random enough that nothing slower is needed.';
COMMENT ON COLUMN streams.key_prefix IS 'The first characters of the key, to tell keys apart.';
COMMENT ON COLUMN streams.previous_key_hash IS 'The key before the last rotation, good until previous_key_until.';
COMMENT ON COLUMN streams.status IS 'ready, live, reconnecting and ended follow the sessions; expired, revoked and disabled refuse the key and end what is on, whoever writes them.';
COMMENT ON COLUMN streams.reconnect_seconds IS 'How long the stream waits for its encoder to come back; the server''s default where null.';

CREATE TABLE stream_sessions (
  id bigserial PRIMARY KEY,
  stream_id text NOT NULL REFERENCES streams (id) ON DELETE CASCADE,
  claim text NOT NULL UNIQUE,
  claimed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  server text NOT NULL,
  boot text NOT NULL,
  connection text NOT NULL,
  app text,
  client_ip text,
  protocol text,
  key_hash bytea CHECK (octet_length(key_hash) = 32),
  state text NOT NULL CHECK (state IN ('reserved', 'live', 'reconnecting', 'ended')),
  reserved_until timestamptz,
  lease_until timestamptz,
  reconnect_until timestamptz,
  started_at timestamptz,
  ended_at timestamptz,
  end_reason text,
  drop_reason text,
  connections integer NOT NULL DEFAULT 1,
  peak_viewers integer,
  bitrate_sum bigint NOT NULL DEFAULT 0,
  bitrate_reports integer NOT NULL DEFAULT 0,
  media_time_ms bigint,
  provisional boolean NOT NULL DEFAULT false,
  duration_seconds numeric GENERATED ALWAYS AS (round(extract(epoch FROM ended_at - started_at), 3)) VIRTUAL,
  mean_bitrate_kbps integer GENERATED ALWAYS AS (
    CASE WHEN bitrate_reports > 0 THEN (bitrate_sum / bitrate_reports)::integer END
  ) VIRTUAL,
  CHECK ((state = 'ended') <= (ended_at IS NOT NULL)),
  CHECK ((state = 'live') <= (lease_until IS NOT NULL AND started_at IS NOT NULL)),
  CHECK ((state = 'reconnecting') <= (reconnect_until IS NOT NULL))
) WITH (fillfactor = 70);
-- What makes a second encoder's claim fail, whatever the code believes.
CREATE UNIQUE INDEX stream_sessions_active ON stream_sessions (stream_id) WHERE state <> 'ended';
CREATE INDEX stream_sessions_history ON stream_sessions (stream_id, id);
CREATE INDEX stream_sessions_server ON stream_sessions (server, claimed_at);
CREATE INDEX stream_sessions_connection ON stream_sessions (server, connection, claimed_at);
-- What media servers still have to be told: few of many.
CREATE INDEX stream_sessions_drops ON stream_sessions (ended_at) WHERE drop_reason IS NOT NULL;
CREATE INDEX stream_sessions_drops_of_stream ON stream_sessions (stream_id, ended_at) WHERE drop_reason IS NOT NULL;
CREATE INDEX stream_sessions_drops_of_server ON stream_sessions (server, boot, ended_at) WHERE drop_reason IS NOT NULL;
COMMENT ON TABLE stream_sessions IS 'One publication each, reconnects within the window included. A reservation that nobody starts is deleted.';
COMMENT ON COLUMN stream_sessions.claim IS 'The session id of the connection that holds it now: every connection gets its own, so that the late end of one never ends the next.';
COMMENT ON COLUMN stream_sessions.claimed_at IS 'When that connection was admitted; of two, the earlier wins.';
COMMENT ON COLUMN stream_sessions.boot IS 'Which run of the media server: its connection ids begin anew with the next.';
COMMENT ON COLUMN stream_sessions.key_hash IS 'Of the key it was admitted with: what comes of its connection later names that key, also when it was rotated meanwhile.';
COMMENT ON COLUMN stream_sessions.reserved_until IS 'Admitted, not started yet: until then nobody else may claim.';
COMMENT ON COLUMN stream_sessions.lease_until IS 'Without a report until then, the media server or the encoder is lost.';
COMMENT ON COLUMN stream_sessions.ended_at IS 'When the media ended; while reconnecting, when the connection was lost.';
COMMENT ON COLUMN stream_sessions.drop_reason IS 'Why its media server is to end it, where that was not its own doing.';
COMMENT ON COLUMN stream_sessions.media_time_ms IS 'As reported last: media that stands still renews no lease where the server reports by itself.';
COMMENT ON COLUMN stream_sessions.provisional IS 'Admitted while the database was away.';

CREATE FUNCTION stream_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.version := nextval('progress_version');
  NEW.updated_at := clock_timestamp();
  IF NEW.status = 'expired' AND OLD.status = 'expired' AND NEW.expires_at IS DISTINCT FROM OLD.expires_at
    AND (NEW.expires_at IS NULL OR NEW.expires_at > clock_timestamp()) THEN
    NEW.status := 'ready';
  END IF;
  IF NEW.status = OLD.status THEN
    RETURN NEW;
  END IF;
  IF NEW.status = 'live' THEN
    NEW.ended_at := NULL;
    NEW.started_at := coalesce(
      (SELECT started_at FROM stream_sessions WHERE stream_id = NEW.id AND state <> 'ended'), clock_timestamp());
  ELSE
    NEW.bitrate_kbps := NULL;
    NEW.viewers := NULL;
    IF OLD.status IN ('live', 'reconnecting') AND NEW.status <> 'reconnecting' THEN
      -- When the media ended: the window in which nobody came back is no part of it.
      NEW.ended_at := coalesce(
        (SELECT ended_at FROM stream_sessions WHERE stream_id = NEW.id AND started_at IS NOT NULL ORDER BY id DESC LIMIT 1),
        clock_timestamp());
    END IF;
  END IF;
  RETURN NEW;
END $$;
CREATE TRIGGER stream_changed BEFORE UPDATE ON streams FOR EACH ROW EXECUTE FUNCTION stream_changed();

-- Whoever ends a stream, psql too, ends its session.
CREATE FUNCTION end_session_of_stream() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE stream_sessions SET state = 'ended', end_reason = reason, drop_reason = reason,
    ended_at = coalesce(ended_at, CASE WHEN OLD.status IN ('live', 'reconnecting') THEN NEW.ended_at END, clock_timestamp())
    FROM (SELECT CASE NEW.status WHEN 'ready' THEN 'ended' ELSE NEW.status END) AS why (reason)
    WHERE stream_id = NEW.id AND state <> 'ended';
  RETURN NULL;
END $$;
CREATE TRIGGER end_session_of_stream AFTER UPDATE OF status ON streams FOR EACH ROW
  WHEN (NEW.status IS DISTINCT FROM OLD.status AND NEW.status IN ('ready', 'ended', 'expired', 'revoked', 'disabled'))
  EXECUTE FUNCTION end_session_of_stream();

-- Every process holds keys it has seen, and tells media servers what to drop: both hear of it here.
CREATE FUNCTION notify_stream_keys() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('stream_keys', json_build_object('streamId', coalesce(to_jsonb(NEW), to_jsonb(OLD)) ->> TG_ARGV[0])::text);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION notify_stream_keys IS 'Names the stream; its argument is the column that holds the stream''s id.';
CREATE TRIGGER notify_stream_keys_update AFTER UPDATE ON streams FOR EACH ROW
  WHEN (
    (NEW.key_hash, NEW.previous_key_hash, NEW.previous_key_until, NEW.expires_at, NEW.policy)
      IS DISTINCT FROM (OLD.key_hash, OLD.previous_key_hash, OLD.previous_key_until, OLD.expires_at, OLD.policy)
    OR (NEW.status <> OLD.status AND (NEW.status IN ('expired', 'revoked', 'disabled') OR OLD.status IN ('expired', 'revoked', 'disabled')))
  )
  EXECUTE FUNCTION notify_stream_keys('id');
CREATE TRIGGER notify_stream_keys_insert AFTER INSERT ON streams FOR EACH ROW
  WHEN (NEW.expires_at IS NOT NULL) EXECUTE FUNCTION notify_stream_keys('id');
CREATE TRIGGER notify_stream_keys_delete AFTER DELETE ON streams FOR EACH ROW EXECUTE FUNCTION notify_stream_keys('id');
-- What is deleted while it is live leaves nothing behind to read: the notification says all.
CREATE FUNCTION notify_session_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('stream_keys', json_build_object('streamId', OLD.stream_id, 'drop', json_build_object(
    'server', OLD.server, 'boot', OLD.boot, 'connection', OLD.connection, 'sessionId', OLD.claim, 'reason', 'revoked'))::text);
  RETURN NULL;
END $$;
CREATE TRIGGER notify_session_deleted AFTER DELETE ON stream_sessions FOR EACH ROW
  WHEN (OLD.state = 'live') EXECUTE FUNCTION notify_session_deleted();
CREATE TRIGGER notify_session_end AFTER UPDATE ON stream_sessions FOR EACH ROW
  WHEN (NEW.state = 'ended' AND OLD.state <> 'ended') EXECUTE FUNCTION notify_stream_keys('stream_id');

CREATE FUNCTION notify_streams(keys text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(keys) <= 2000 THEN
    PERFORM pg_notify('streams', '{"keys":[' || string_agg(key, ',') || ']}')
      FROM (SELECT key, sum(octet_length(key) + 1) OVER (ROWS UNBOUNDED PRECEDING) / 5500 AS chunk
            FROM unnest(keys) AS key) AS chunked
      GROUP BY chunk;
  ELSE
    PERFORM pg_notify('streams', '{"again":true}');
  END IF;
END $$;
COMMENT ON FUNCTION notify_streams IS 'A few notifications a statement: the changed streams, or past 2,000 of them "read again".';

CREATE FUNCTION notify_streams_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM notify_streams(array_agg(json_build_array(id, version)::text)) FROM new_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;
CREATE FUNCTION notify_streams_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM notify_streams(array_agg(json_build_array(id, nextval('progress_version'))::text)) FROM old_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;
CREATE TRIGGER notify_streams_insert AFTER INSERT ON streams REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION notify_streams_written();
CREATE TRIGGER notify_streams_update AFTER UPDATE ON streams REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION notify_streams_written();
CREATE TRIGGER notify_streams_delete AFTER DELETE ON streams REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION notify_streams_deleted();
