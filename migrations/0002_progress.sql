-- Up Migration

CREATE SEQUENCE progress_version;
COMMENT ON SEQUENCE progress_version IS 'One sequence for progress, lessons, courses and streams, drawn after the row is locked: of two states of a key the later has the higher version. CACHE stays 1, or two sessions would draw out of order.';

CREATE TABLE user_progress (
  id bigserial PRIMARY KEY,
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  file_id text NOT NULL,
  lesson_id text NOT NULL,
  course_id text NOT NULL,
  position_ms integer NOT NULL DEFAULT 0 CHECK (position_ms >= 0),
  watched int4multirange NOT NULL DEFAULT '{}',
  watched_ms integer NOT NULL DEFAULT 0 CHECK (watched_ms >= 0),
  watch_time_ms bigint NOT NULL DEFAULT 0 CHECK (watch_time_ms >= 0),
  reported_bp integer NOT NULL DEFAULT 0 CHECK (reported_bp BETWEEN 0 AND 10000),
  completed boolean NOT NULL DEFAULT false,
  completion_source text CHECK (completion_source IN ('auto', 'manual', 'waived', 'reported')),
  epoch integer NOT NULL DEFAULT 0,
  reset_at timestamptz,
  last_watched timestamptz,
  position_session text COLLATE "C",
  position_seq bigint,
  writer_session text COLLATE "C",
  writer_seq bigint,
  beat_at timestamptz,
  duration_ms integer,
  counted boolean NOT NULL DEFAULT true,
  contribution_ms integer GENERATED ALWAYS AS (
    CASE
      WHEN NOT counted OR duration_ms IS NULL THEN 0
      WHEN completed THEN duration_ms
      ELSE least(
        greatest(watched_ms, (duration_ms::bigint * reported_bp / 10000)::integer),
        (duration_ms::bigint * 999 / 1000)::integer
      )
    END
  ) STORED,
  version bigint NOT NULL DEFAULT nextval('progress_version'),
  base_version bigint,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  progress_seconds integer GENERATED ALWAYS AS (position_ms / 1000) VIRTUAL,
  progress_percentage numeric(5, 2) GENERATED ALWAYS AS (
    CASE
      WHEN duration_ms IS NULL THEN reported_bp / 100.0
      ELSE least(10000, greatest(reported_bp::bigint, watched_ms::bigint * 10000 / duration_ms)) / 100.0
    END
  ) VIRTUAL,
  UNIQUE (user_id, file_id),
  FOREIGN KEY (file_id, lesson_id, course_id) REFERENCES files (id, lesson_id, course_id) ON UPDATE CASCADE ON DELETE CASCADE,
  CHECK (completed = (completion_source IS NOT NULL))
) WITH (fillfactor = 70);
-- For the cascade of a deleted file, catalogue changes and the topic of a file. It ends in user_id so that a plan made while
-- the table was empty, which may pick it for a look-up of one row, still looks up one row when the table is large.
-- No index holds a column that a heartbeat changes.
CREATE INDEX user_progress_file ON user_progress (file_id, user_id);
COMMENT ON TABLE user_progress IS 'State of one user in one file.';
COMMENT ON COLUMN user_progress.position_ms IS 'Where the player was last seen: the newest by (last_watched, position_session, position_seq).';
COMMENT ON COLUMN user_progress.watched IS 'What was really played: half-open milliseconds, gaps of at most 250 ms closed.';
COMMENT ON COLUMN user_progress.watched_ms IS 'Length of the union.';
COMMENT ON COLUMN user_progress.watch_time_ms IS 'Time spent, re-watching included.';
COMMENT ON COLUMN user_progress.reported_bp IS 'What a legacy client said about itself, in hundredths of a percent; never mixed with what was watched.';
COMMENT ON COLUMN user_progress.epoch IS 'Raised by every reset; a heartbeat of a lower one is dropped.';
COMMENT ON COLUMN user_progress.reset_at IS 'A heartbeat observed then or before is dropped.';
COMMENT ON COLUMN user_progress.last_watched IS 'When the position was seen, by the database''s clock. Null in a row that a reset or an instructor made.';
COMMENT ON COLUMN user_progress.writer_session IS 'The last writer, with writer_seq: watch time grows only for another session or a later seq.';
COMMENT ON COLUMN user_progress.beat_at IS 'When a heartbeat was last written here: the budget of watching counts from it. Nothing but a heartbeat touches it.';
COMMENT ON COLUMN user_progress.duration_ms IS 'The catalogue''s duration that the contribution was counted with.';
COMMENT ON COLUMN user_progress.counted IS 'Whether the file counts in the roll-up: required and not retired.';
COMMENT ON COLUMN user_progress.contribution_ms IS 'What the row adds to its lesson and course, in ms: all of the duration only when completed.';
COMMENT ON COLUMN user_progress.base_version IS 'The version that the last batch built on: it leaves a row alone that has another one by now.';
COMMENT ON COLUMN user_progress.progress_percentage IS 'The larger of what was watched and what was reported, rounded down.';

CREATE TABLE lesson_progress (
  id bigserial PRIMARY KEY,
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  lesson_id text NOT NULL,
  course_id text NOT NULL,
  total_files integer NOT NULL,
  completed_files integer NOT NULL,
  started_files integer NOT NULL,
  total_ms bigint NOT NULL,
  contribution_ms bigint NOT NULL,
  watched_ms bigint NOT NULL,
  version bigint NOT NULL DEFAULT nextval('progress_version'),
  last_updated timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  progress_percentage numeric(5, 2) GENERATED ALWAYS AS (
    CASE
      WHEN total_files = 0 THEN 0
      WHEN completed_files >= total_files THEN 100
      WHEN total_ms = 0 THEN (completed_files::bigint * 10000 / total_files) / 100.0
      ELSE least(9999, contribution_ms * 10000 / total_ms) / 100.0
    END
  ) VIRTUAL,
  UNIQUE (user_id, lesson_id),
  FOREIGN KEY (lesson_id, course_id) REFERENCES lessons (id, course_id) ON UPDATE CASCADE ON DELETE CASCADE
) WITH (fillfactor = 70);
CREATE INDEX lesson_progress_lesson ON lesson_progress (lesson_id, user_id);
COMMENT ON TABLE lesson_progress IS 'Sums over user_progress, kept exact by its triggers. There is a row where the user has a row in a file of the lesson.';
COMMENT ON COLUMN lesson_progress.started_files IS 'Rows of user_progress behind this one, counted or not; at 0 the row goes.';

CREATE TABLE course_progress (
  id bigserial PRIMARY KEY,
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  course_id text NOT NULL REFERENCES courses (id) ON DELETE CASCADE,
  total_files integer NOT NULL,
  completed_files integer NOT NULL,
  started_files integer NOT NULL,
  total_ms bigint NOT NULL,
  contribution_ms bigint NOT NULL,
  watched_ms bigint NOT NULL,
  version bigint NOT NULL DEFAULT nextval('progress_version'),
  last_updated timestamptz NOT NULL DEFAULT now(),
  created_at timestamptz NOT NULL DEFAULT now(),
  total_duration integer GENERATED ALWAYS AS (total_ms / 1000) VIRTUAL,
  watched_duration integer GENERATED ALWAYS AS (watched_ms / 1000) VIRTUAL,
  progress_percentage numeric(5, 2) GENERATED ALWAYS AS (
    CASE
      WHEN total_files = 0 THEN 0
      WHEN completed_files >= total_files THEN 100
      WHEN total_ms = 0 THEN (completed_files::bigint * 10000 / total_files) / 100.0
      ELSE least(9999, contribution_ms * 10000 / total_ms) / 100.0
    END
  ) VIRTUAL,
  UNIQUE (user_id, course_id)
) WITH (fillfactor = 70);
CREATE INDEX course_progress_course ON course_progress (course_id, user_id);
COMMENT ON TABLE course_progress IS 'Sums over user_progress, kept exact by its triggers. There is a row where the user has a row in a file of the course.';

CREATE TABLE user_activity_log (
  id bigserial,
  user_id text NOT NULL,
  file_id text,
  lesson_id text,
  course_id text,
  activity_type varchar(50) NOT NULL,
  duration_seconds integer,
  actor_id text,
  "timestamp" timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (id, "timestamp")
) PARTITION BY RANGE ("timestamp");
CREATE TABLE user_activity_log_default PARTITION OF user_activity_log DEFAULT;
CREATE INDEX user_activity_log_user ON user_activity_log (user_id, "timestamp");
COMMENT ON TABLE user_activity_log IS 'started, resumed, completed, reset, manual, waived and uncompleted; not one row a heartbeat. Without references: a log outlives what it speaks of.';
COMMENT ON COLUMN user_activity_log.duration_seconds IS 'Time spent in the file up to then.';
COMMENT ON COLUMN user_activity_log.actor_id IS 'Who did it, where it was not the user.';

CREATE FUNCTION make_activity_partitions(months_ahead integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  month_start timestamptz;
BEGIN
  FOR ahead IN 0..months_ahead LOOP
    month_start := date_trunc('month', now(), 'UTC') + make_interval(months => ahead);
    BEGIN
      EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF user_activity_log FOR VALUES FROM (%L) TO (%L)',
        'user_activity_log_' || to_char(month_start AT TIME ZONE 'UTC', 'YYYY_MM'),
        month_start, date_trunc('month', month_start + interval '32 days', 'UTC'));
    EXCEPTION WHEN check_violation OR lock_not_available THEN
      -- The default partition already holds rows of this month, or is busy: they are kept there, nothing is lost.
      RAISE WARNING 'no partition of user_activity_log made for %: %', month_start, SQLERRM;
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION make_activity_partitions IS 'Makes the months ahead; safe to call at any time.';
SELECT make_activity_partitions(3);

CREATE FUNCTION log_activity(entries jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO user_activity_log (user_id, file_id, lesson_id, course_id, activity_type, duration_seconds, actor_id)
  SELECT * FROM jsonb_to_recordset(entries) AS entry (
    user_id text, file_id text, lesson_id text, course_id text, activity_type text, duration_seconds integer, actor_id text);
EXCEPTION WHEN OTHERS THEN
  -- A log never fails what it logs.
  RAISE WARNING 'activity was not logged: %', SQLERRM;
END $$;
