-- A reset of a course costs the rows that are there: what it does to all other files is one mark. A row that is deleted leaves
-- a mark too, so that epochs never begin anew.

CREATE TABLE reset_marks (
  user_id text NOT NULL REFERENCES users (id) ON DELETE CASCADE,
  course_id text NOT NULL,
  file_id text NOT NULL DEFAULT '',
  epoch integer NOT NULL CHECK (epoch > 0),
  reset_at timestamptz NOT NULL,
  version bigint NOT NULL DEFAULT nextval('progress_version'),
  PRIMARY KEY (user_id, course_id, file_id)
);
COMMENT ON TABLE reset_marks IS 'Where files begin of which the user has no row: at the epoch of the last reset of their course, or past the epoch of a row that was deleted. A row that is there never looks at it.';
COMMENT ON COLUMN reset_marks.course_id IS 'Not a foreign key: the mark outlives a course that is deleted and perhaps put again.';
COMMENT ON COLUMN reset_marks.file_id IS 'Empty: the mark is of every file of the course.';
COMMENT ON COLUMN reset_marks.epoch IS 'The epoch of a row that begins. Of several marks of a file the highest counts.';
COMMENT ON COLUMN reset_marks.reset_at IS 'As in user_progress.';
COMMENT ON COLUMN reset_marks.version IS 'The version of a file without a row, as it is read.';

CREATE TABLE former_files (
  file_id text,
  course_id text,
  PRIMARY KEY (file_id, course_id)
);
COMMENT ON TABLE former_files IS 'From which courses a file was deleted. It may be put again in another course: the marks of the former ones hold for it too.';
COMMENT ON COLUMN user_progress.epoch IS 'Every reset raises it, and a row begins at the epoch of its mark (reset_marks). A heartbeat of a lower epoch is dropped.';
