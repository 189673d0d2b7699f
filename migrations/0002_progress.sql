CREATE SEQUENCE progress_version;
COMMENT ON SEQUENCE progress_version IS 'Versions of progress, lessons, courses and streams. A writer draws one after it has locked the row, so of two states of a key the later has the higher version. CACHE stays 1, or two sessions would draw out of order.';

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
-- For the cascade of a deleted file, for changes of the catalogue and for the topic of a file. It ends in user_id: a plan made
-- while the table was empty may pick this index to look up one row, and still finds one row when the table is large.
-- No index holds a column that a heartbeat changes, so that updates stay HOT.
CREATE INDEX user_progress_file ON user_progress (file_id, user_id);
COMMENT ON TABLE user_progress IS 'The state of one user in one file.';
COMMENT ON COLUMN user_progress.position_ms IS 'Where the player was last seen. Of two positions the one with the higher (last_watched, position_session, position_seq) stays.';
COMMENT ON COLUMN user_progress.watched IS 'The union of all ranges that were played, as half-open milliseconds. Gaps of at most 250 ms are closed.';
COMMENT ON COLUMN user_progress.watched_ms IS 'The length of watched.';
COMMENT ON COLUMN user_progress.watch_time_ms IS 'Time spent, re-watching included.';
COMMENT ON COLUMN user_progress.reported_bp IS 'The progress that a legacy client reported about itself, in hundredths of a percent. Kept apart from watched.';
COMMENT ON COLUMN user_progress.epoch IS 'Every reset raises it. A heartbeat of a lower epoch is dropped.';
COMMENT ON COLUMN user_progress.reset_at IS 'A heartbeat without an epoch that was observed at this time or before is dropped.';
COMMENT ON COLUMN user_progress.last_watched IS 'When the position was seen, by the clock of the database. Null in a row that a reset or an instructor made.';
COMMENT ON COLUMN user_progress.writer_session IS 'With writer_seq: the heartbeat that was written last. Watch time grows only for another session or a later seq.';
COMMENT ON COLUMN user_progress.beat_at IS 'When a heartbeat was last written to this row; the budget of the user counts from it. Only heartbeats change it.';
COMMENT ON COLUMN user_progress.duration_ms IS 'The duration of the file by which contribution_ms was computed.';
COMMENT ON COLUMN user_progress.counted IS 'Whether the file counts in the sums: it is required, and neither it nor its lesson is retired.';
COMMENT ON COLUMN user_progress.contribution_ms IS 'What the row adds to its lesson and its course, in ms. The whole duration only when completed.';
COMMENT ON COLUMN user_progress.base_version IS 'The version of the row that the last batch had read.';
COMMENT ON COLUMN user_progress.progress_percentage IS 'The larger of the watched and the reported share, rounded down.';

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
COMMENT ON TABLE lesson_progress IS 'Sums over user_progress; its triggers keep them exact. A row exists where the user has a row in a file of the lesson.';
COMMENT ON COLUMN lesson_progress.started_files IS 'How many rows of user_progress stand behind this row, counted or not. At 0 the row is deleted.';

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
COMMENT ON TABLE course_progress IS 'Sums over user_progress; its triggers keep them exact. A row exists where the user has a row in a file of the course.';

CREATE TYPE progress_delta AS (
  user_id text, lesson_id text, course_id text, started integer, completed integer, contribution_ms bigint, watched_ms bigint
);
COMMENT ON TYPE progress_delta IS 'What one statement on user_progress adds to the sums of a user and lesson; less than 0 where rows were removed.';

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
COMMENT ON TABLE user_activity_log IS 'Holds started, resumed, completed, reset, manual, waived and uncompleted, never a row for each heartbeat. No foreign keys: the log outlives the rows that it names.';
COMMENT ON COLUMN user_activity_log.duration_seconds IS 'The time that the user had spent in the file by then.';
COMMENT ON COLUMN user_activity_log.actor_id IS 'Who did it, where that was not the user.';
