/*
 * The tables of the reference document, with a row trigger that recounts. The whole seconds and the extra ids come from the
 * document. The indexes spare its recounts from reading whole tables.
 */

export const RECOUNT_SCHEMA = `
CREATE TABLE files (
  id varchar(128) PRIMARY KEY, lesson_id varchar(128) NOT NULL, course_id varchar(128) NOT NULL, duration integer NOT NULL
);
CREATE INDEX ON files (lesson_id);
CREATE INDEX ON files (course_id);

CREATE TABLE user_progress (
  id serial PRIMARY KEY, user_id varchar(128) NOT NULL, file_id varchar(128) NOT NULL, lesson_id varchar(128) NOT NULL, course_id varchar(128) NOT NULL,
  progress_seconds integer NOT NULL DEFAULT 0, progress_percentage decimal(5, 2) NOT NULL DEFAULT 0, completed boolean NOT NULL DEFAULT false,
  last_watched timestamp NOT NULL DEFAULT now(), created_at timestamp NOT NULL DEFAULT now(), updated_at timestamp NOT NULL DEFAULT now(),
  UNIQUE (user_id, file_id)
) WITH (fillfactor = 70);
CREATE INDEX ON user_progress (user_id, lesson_id);
CREATE INDEX ON user_progress (user_id, course_id);

CREATE TABLE lesson_progress (
  id serial PRIMARY KEY, user_id varchar(128) NOT NULL, lesson_id varchar(128) NOT NULL, course_id varchar(128) NOT NULL,
  total_files integer NOT NULL DEFAULT 0, completed_files integer NOT NULL DEFAULT 0, progress_percentage decimal(5, 2) NOT NULL DEFAULT 0,
  last_updated timestamp NOT NULL DEFAULT now(), created_at timestamp NOT NULL DEFAULT now(),
  UNIQUE (user_id, lesson_id)
) WITH (fillfactor = 70);

CREATE TABLE course_progress (
  id serial PRIMARY KEY, user_id varchar(128) NOT NULL, course_id varchar(128) NOT NULL,
  total_files integer NOT NULL DEFAULT 0, completed_files integer NOT NULL DEFAULT 0, total_duration integer NOT NULL DEFAULT 0,
  watched_duration integer NOT NULL DEFAULT 0, progress_percentage decimal(5, 2) NOT NULL DEFAULT 0,
  last_updated timestamp NOT NULL DEFAULT now(), created_at timestamp NOT NULL DEFAULT now(),
  UNIQUE (user_id, course_id)
) WITH (fillfactor = 70);

CREATE FUNCTION recount() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  files_total integer; files_completed integer; duration_total integer; watched_total integer; percentage decimal(5, 2);
BEGIN
  SELECT count(*) INTO files_total FROM files WHERE lesson_id = NEW.lesson_id;
  SELECT count(*) FILTER (WHERE completed), coalesce(sum(progress_percentage), 0) / greatest(files_total, 1)
    INTO files_completed, percentage
    FROM user_progress WHERE user_id = NEW.user_id AND lesson_id = NEW.lesson_id;
  INSERT INTO lesson_progress (user_id, lesson_id, course_id, total_files, completed_files, progress_percentage)
  VALUES (NEW.user_id, NEW.lesson_id, NEW.course_id, files_total, files_completed, percentage)
  ON CONFLICT (user_id, lesson_id) DO UPDATE SET total_files = excluded.total_files,
    completed_files = excluded.completed_files, progress_percentage = excluded.progress_percentage, last_updated = now();

  SELECT count(*), coalesce(sum(duration), 0) INTO files_total, duration_total FROM files WHERE course_id = NEW.course_id;
  SELECT count(*) FILTER (WHERE completed), coalesce(sum(progress_seconds), 0), coalesce(sum(progress_percentage), 0) / greatest(files_total, 1)
    INTO files_completed, watched_total, percentage
    FROM user_progress WHERE user_id = NEW.user_id AND course_id = NEW.course_id;
  INSERT INTO course_progress (user_id, course_id, total_files, completed_files, total_duration, watched_duration, progress_percentage)
  VALUES (NEW.user_id, NEW.course_id, files_total, files_completed, duration_total, watched_total, percentage)
  ON CONFLICT (user_id, course_id) DO UPDATE SET total_files = excluded.total_files,
    completed_files = excluded.completed_files, total_duration = excluded.total_duration,
    watched_duration = excluded.watched_duration, progress_percentage = excluded.progress_percentage, last_updated = now();
  RETURN NULL;
END $$;
CREATE TRIGGER recount AFTER INSERT OR UPDATE ON user_progress FOR EACH ROW EXECUTE FUNCTION recount();
`;
