CREATE OR REPLACE FUNCTION playhead_repair_course(course_id text) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  wrong bigint;
BEGIN
  PERFORM lock_catalogue($1);
  SELECT count(*) INTO wrong FROM playhead_check_course($1);
  PERFORM apply_catalogue($1);
  UPDATE user_progress AS p SET watched = p.watched
  WHERE p.course_id = $1 AND p.watched_ms <> watched_within(p.watched, 0, p.duration_ms);
  INSERT INTO lesson_progress AS l (user_id, lesson_id, course_id, total_files, total_ms, assumed_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT r.*, clock_timestamp() FROM recount_lessons($1) AS r
  ON CONFLICT (user_id, lesson_id) DO UPDATE SET
    total_files = excluded.total_files, total_ms = excluded.total_ms, assumed_ms = excluded.assumed_ms,
    started_files = excluded.started_files,
    completed_files = excluded.completed_files, contribution_ms = excluded.contribution_ms,
    watched_ms = excluded.watched_ms, version = nextval('progress_version'), last_updated = excluded.last_updated
  WHERE (l.total_files, l.total_ms, l.assumed_ms, l.started_files, l.completed_files, l.contribution_ms, l.watched_ms) IS DISTINCT FROM
    (excluded.total_files, excluded.total_ms, excluded.assumed_ms, excluded.started_files, excluded.completed_files, excluded.contribution_ms, excluded.watched_ms);
  DELETE FROM lesson_progress AS l WHERE l.course_id = $1 AND NOT EXISTS (
    SELECT FROM user_progress AS p WHERE p.user_id = l.user_id AND p.lesson_id = l.lesson_id);
  INSERT INTO course_progress AS c (user_id, course_id, total_files, total_ms, assumed_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT r.*, clock_timestamp() FROM recount_course($1) AS r
  ON CONFLICT (user_id, course_id) DO UPDATE SET
    total_files = excluded.total_files, total_ms = excluded.total_ms, assumed_ms = excluded.assumed_ms,
    started_files = excluded.started_files,
    completed_files = excluded.completed_files, contribution_ms = excluded.contribution_ms,
    watched_ms = excluded.watched_ms, version = nextval('progress_version'), last_updated = excluded.last_updated
  WHERE (c.total_files, c.total_ms, c.assumed_ms, c.started_files, c.completed_files, c.contribution_ms, c.watched_ms) IS DISTINCT FROM
    (excluded.total_files, excluded.total_ms, excluded.assumed_ms, excluded.started_files, excluded.completed_files, excluded.contribution_ms, excluded.watched_ms);
  DELETE FROM course_progress AS c WHERE c.course_id = $1 AND NOT EXISTS (
    SELECT FROM user_progress AS p WHERE p.user_id = c.user_id AND p.course_id = c.course_id);
  RETURN wrong;
END $$;
COMMENT ON FUNCTION playhead_repair_course IS 'Recounts a course under its lock and corrects what differs. Returns how many rows differed.';
