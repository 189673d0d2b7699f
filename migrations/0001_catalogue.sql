CREATE TABLE settings (
  name text PRIMARY KEY,
  value text NOT NULL
);
COMMENT ON TABLE settings IS 'Values that all processes on this database share, such as the secret of built-in tokens.';

CREATE TABLE users (
  id text PRIMARY KEY CHECK (char_length(id) BETWEEN 1 AND 128),
  username varchar(50) UNIQUE,
  email varchar(255) UNIQUE,
  password text,
  first_name varchar(100),
  last_name varchar(100),
  role text NOT NULL DEFAULT 'learner' CHECK (role IN ('learner', 'instructor', 'admin')),
  created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE users IS 'Everybody who has progress or an account. The first write of a token''s subject makes the row; only built-in accounts have a name, an e-mail and a password.';
COMMENT ON COLUMN users.id IS 'The token''s subject.';
COMMENT ON COLUMN users.password IS 'A bcrypt hash; null where the identity comes from elsewhere.';

CREATE TABLE courses (
  id text PRIMARY KEY CHECK (char_length(id) BETWEEN 1 AND 128),
  title text NOT NULL,
  instructor_id text,
  completion_threshold numeric(6, 5) CHECK (completion_threshold > 0 AND completion_threshold <= 1),
  accept_reported boolean NOT NULL DEFAULT true,
  total_files integer NOT NULL DEFAULT 0,
  total_ms bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  catalogue_version bigint NOT NULL DEFAULT 0
);
-- It must not hold the id: a plan made while there are few courses may take any index with the id to look up one course, and
-- would read this whole index when there are many.
CREATE INDEX courses_instructor ON courses (instructor_id);
COMMENT ON COLUMN courses.instructor_id IS 'A token''s subject. Not a foreign key: an instructor who has never written anything has no row in users.';
COMMENT ON COLUMN courses.completion_threshold IS 'The share of a file that must be watched to complete it. Null means 0.90. The threshold of the file itself comes first.';
COMMENT ON COLUMN courses.accept_reported IS 'Whether the server believes the progress that a legacy client reports about itself.';
COMMENT ON COLUMN courses.total_files IS 'Files that count: required and not retired. Kept by apply_catalogue.';
COMMENT ON COLUMN courses.catalogue_version IS 'apply_catalogue changes it. As long as it stays the same, what a process remembers of the files of the course is right.';
COMMENT ON COLUMN courses.total_ms IS 'Sum of the known durations of the files that count, in ms. Kept by apply_catalogue.';

CREATE TABLE lessons (
  id text PRIMARY KEY CHECK (char_length(id) BETWEEN 1 AND 128),
  course_id text NOT NULL REFERENCES courses (id) ON DELETE CASCADE,
  title text NOT NULL,
  position integer NOT NULL DEFAULT 0,
  retired_at timestamptz,
  total_files integer NOT NULL DEFAULT 0,
  total_ms bigint NOT NULL DEFAULT 0,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (id, course_id)
);
CREATE INDEX lessons_course ON lessons (course_id);
COMMENT ON COLUMN lessons.retired_at IS 'When the tree of the course stopped naming the lesson. A retired lesson does not count; its progress stays.';

CREATE TABLE files (
  id text PRIMARY KEY CHECK (char_length(id) BETWEEN 1 AND 128),
  lesson_id text NOT NULL,
  course_id text NOT NULL,
  title text NOT NULL,
  position integer NOT NULL DEFAULT 0,
  duration_ms integer CHECK (duration_ms > 0),
  required boolean NOT NULL DEFAULT true,
  completion_threshold numeric(6, 5) CHECK (completion_threshold > 0 AND completion_threshold <= 1),
  start_ms integer CHECK (start_ms >= 0),
  credits_at_ms integer CHECK (credits_at_ms > 0),
  retired_at timestamptz,
  counted boolean NOT NULL DEFAULT true,
  complete_at_ms integer,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (id, lesson_id, course_id),
  FOREIGN KEY (lesson_id, course_id) REFERENCES lessons (id, course_id) ON UPDATE CASCADE ON DELETE CASCADE
);
CREATE INDEX files_lesson ON files (lesson_id, course_id);
CREATE INDEX files_course ON files (course_id);
COMMENT ON COLUMN files.duration_ms IS 'Null while unknown. A file of unknown duration never completes by itself.';
COMMENT ON COLUMN files.start_ms IS 'Where the content begins; 0 where null.';
COMMENT ON COLUMN files.credits_at_ms IS 'Where the credits begin: the end boundary; the duration where null.';
COMMENT ON COLUMN files.counted IS 'Whether the file is required, and neither the file nor its lesson is retired. Kept by apply_catalogue.';
COMMENT ON COLUMN files.complete_at_ms IS 'The watched length, in ms, that completes the file: threshold x (end boundary - start boundary), rounded up. Null while the duration is unknown. Kept by apply_catalogue.';
