CREATE TABLE xapi_sessions (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  file_id text NOT NULL,
  player text COLLATE "C" NOT NULL,
  begun_at timestamptz NOT NULL,
  stated boolean NOT NULL DEFAULT false,
  seen_at timestamptz,
  last_watched timestamptz,
  position_ms integer,
  UNIQUE (user_id, file_id, player)
);
CREATE INDEX xapi_sessions_begun ON xapi_sessions (begun_at, id);
COMMENT ON TABLE xapi_sessions IS 'Open sessions of the xAPI Video Profile: one player''s run in one file, from its statement initialized to its statement terminated.';
COMMENT ON COLUMN xapi_sessions.id IS 'The id of the statement initialized, as the profile wants it. A random UUID, version 4, which the profile asks for too.';
COMMENT ON COLUMN xapi_sessions.player IS 'The session of the heartbeats (user_progress.writer_session); empty for requests over HTTP that name none.';
COMMENT ON COLUMN xapi_sessions.stated IS 'Whether initialized was written: soon after the heartbeat that began the session, so that the heartbeat does not pay for it.';
COMMENT ON COLUMN xapi_sessions.seen_at IS 'With last_watched and position_ms: what user_progress held when another player took over as its writer. Null until then, and not looked at while this player is the writer.';

CREATE TABLE xapi_statements (
  seq bigserial PRIMARY KEY,
  id uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(),
  stored timestamptz(3) NOT NULL DEFAULT clock_timestamp(),
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  course_id text NOT NULL,
  lesson_id text NOT NULL,
  file_id text NOT NULL,
  verb text NOT NULL CHECK (verb IN ('initialized', 'completed', 'paused', 'terminated')),
  session_id uuid,
  registration uuid NOT NULL,
  "timestamp" timestamptz NOT NULL,
  title text NOT NULL,
  duration_ms integer NOT NULL,
  threshold numeric(4, 3) NOT NULL,
  position_ms integer NOT NULL,
  watched int4multirange NOT NULL,
  watched_ms integer NOT NULL,
  watch_time_ms bigint NOT NULL,
  reached boolean NOT NULL
);
CREATE INDEX xapi_statements_stored ON xapi_statements (stored, seq);
CREATE INDEX xapi_statements_user ON xapi_statements (user_id, stored, seq);
CREATE INDEX xapi_statements_file ON xapi_statements (file_id, stored, seq);
CREATE UNIQUE INDEX xapi_statements_completed ON xapi_statements (registration, file_id) WHERE verb = 'completed';
COMMENT ON TABLE xapi_statements IS 'What xAPI statements say, written in the transaction in which it happened and never changed. The server makes the JSON of it.';
COMMENT ON COLUMN xapi_statements.seq IS 'Of one user in the order of the commits: who writes holds the lock of the user.';
COMMENT ON COLUMN xapi_statements.threshold IS 'The share of the whole media that completes it, rounded up to 3 decimals.';
COMMENT ON COLUMN xapi_statements.reached IS 'Whether what was watched has reached the threshold.';
COMMENT ON INDEX xapi_statements_completed IS 'A registration completes a file once.';

CREATE TABLE xapi_queue (
  seq bigint PRIMARY KEY REFERENCES xapi_statements (seq) ON DELETE CASCADE,
  refused_at timestamptz,
  error text
);
CREATE INDEX xapi_queue_waiting ON xapi_queue (seq) WHERE refused_at IS NULL;
CREATE INDEX xapi_queue_refused ON xapi_queue (seq) WHERE refused_at IS NOT NULL;
COMMENT ON TABLE xapi_queue IS 'Statements that the learning record store has not taken. Written only while one is configured.';
COMMENT ON COLUMN xapi_queue.refused_at IS 'When the store refused the statement. It is put aside then, until an admin has it sent again.';
