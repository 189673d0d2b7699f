CREATE OR REPLACE FUNCTION roll_up_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- A negative delta only updates: when a course goes, its aggregates may be gone already and must not come back.
  UPDATE lesson_progress AS l SET
    started_files = l.started_files - d.started, completed_files = l.completed_files - d.completed,
    contribution_ms = l.contribution_ms - d.contribution, watched_ms = l.watched_ms - d.watched,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM (
    SELECT user_id, lesson_id, count(*) AS started, count(*) FILTER (WHERE completed AND counted) AS completed,
      sum(contribution_ms) AS contribution, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched
    FROM old_rows GROUP BY user_id, lesson_id
  ) AS d WHERE l.user_id = d.user_id AND l.lesson_id = d.lesson_id;
  UPDATE course_progress AS c SET
    started_files = c.started_files - d.started, completed_files = c.completed_files - d.completed,
    contribution_ms = c.contribution_ms - d.contribution, watched_ms = c.watched_ms - d.watched,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM (
    SELECT user_id, course_id, count(*) AS started, count(*) FILTER (WHERE completed AND counted) AS completed,
      sum(contribution_ms) AS contribution, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched
    FROM old_rows GROUP BY user_id, course_id
  ) AS d WHERE c.user_id = d.user_id AND c.course_id = d.course_id;
  DELETE FROM lesson_progress AS l USING (SELECT DISTINCT user_id, lesson_id FROM old_rows) AS o
    WHERE l.user_id = o.user_id AND l.lesson_id = o.lesson_id AND l.started_files = 0;
  DELETE FROM course_progress AS c USING (SELECT DISTINCT user_id, course_id FROM old_rows) AS o
    WHERE c.user_id = o.user_id AND c.course_id = o.course_id AND c.started_files = 0;

  -- The version of a removal is later than that of anything that was said about the row.
  PERFORM notify_changes(
    array_agg(json_build_array(course_id, lesson_id, file_id, user_id, nextval('progress_version'))::text),
    array_agg(DISTINCT course_id))
    FROM old_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION roll_up_delete IS 'Subtracts deleted rows of user_progress from the sums of lessons and courses.';

CREATE OR REPLACE TRIGGER roll_up_delete AFTER DELETE ON user_progress REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION roll_up_delete();
