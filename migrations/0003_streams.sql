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
COMMENT ON TABLE streams IS 'Who may publish live, and whether somebody does. The key itself is stored nowhere.';
COMMENT ON COLUMN streams.key_hash IS 'SHA-256 of the stream key. A key is random, so no slower hash is needed.';
COMMENT ON COLUMN streams.key_prefix IS 'The first characters of the key, to tell keys apart.';
COMMENT ON COLUMN streams.previous_key_hash IS 'The key before the last rotation. It is good until previous_key_until.';
COMMENT ON COLUMN streams.status IS 'ready, live, reconnecting and ended follow the sessions. expired, revoked and disabled refuse the key and end the session, whoever writes them.';
COMMENT ON COLUMN streams.reconnect_seconds IS 'How long the stream waits for its encoder to come back. Null means the default of the server.';

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
-- Makes the claim of a second encoder fail, whatever the server believes.
CREATE UNIQUE INDEX stream_sessions_active ON stream_sessions (stream_id) WHERE state <> 'ended';
CREATE INDEX stream_sessions_history ON stream_sessions (stream_id, id);
CREATE INDEX stream_sessions_server ON stream_sessions (server, claimed_at);
CREATE INDEX stream_sessions_connection ON stream_sessions (server, connection, claimed_at);
-- For the few sessions that media servers still have to be told to drop.
CREATE INDEX stream_sessions_drops ON stream_sessions (ended_at) WHERE drop_reason IS NOT NULL;
CREATE INDEX stream_sessions_drops_of_stream ON stream_sessions (stream_id, ended_at) WHERE drop_reason IS NOT NULL;
CREATE INDEX stream_sessions_drops_of_server ON stream_sessions (server, boot, ended_at) WHERE drop_reason IS NOT NULL;
COMMENT ON TABLE stream_sessions IS 'A row is one publication, with its reconnects within reconnect_seconds. A reservation that nobody starts is deleted.';
COMMENT ON COLUMN stream_sessions.claim IS 'The session id of the connection that publishes now. Every connection gets its own, so the late end of one never ends the next.';
COMMENT ON COLUMN stream_sessions.claimed_at IS 'When that connection was admitted. Of two connections the earlier wins.';
COMMENT ON COLUMN stream_sessions.boot IS 'Names a run of the media server. The next run starts its connection ids anew.';
COMMENT ON COLUMN stream_sessions.key_hash IS 'The key that admitted the connection. Later messages of the connection name this key, even after a rotation.';
COMMENT ON COLUMN stream_sessions.reserved_until IS 'Set while the connection is admitted and has not started. Until this time nobody else may claim the stream.';
COMMENT ON COLUMN stream_sessions.lease_until IS 'Where no report comes until this time, the media server or the encoder is lost.';
COMMENT ON COLUMN stream_sessions.ended_at IS 'When the media ended. While reconnecting: when the connection was lost.';
COMMENT ON COLUMN stream_sessions.drop_reason IS 'Why the media server has to drop the connection. Null where the media server ended it.';
COMMENT ON COLUMN stream_sessions.media_time_ms IS 'The media time of the last report. Where a media server reports by itself, media that stands still renews no lease.';
COMMENT ON COLUMN stream_sessions.provisional IS 'Whether the connection was admitted while the database was away.';
