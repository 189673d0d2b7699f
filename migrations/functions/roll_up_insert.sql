CREATE OR REPLACE FUNCTION roll_up_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO lesson_progress AS l (user_id, lesson_id, course_id, total_files, total_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT d.user_id, d.lesson_id, d.course_id, (SELECT total_files FROM lessons AS t WHERE t.id = d.lesson_id),
    (SELECT total_ms FROM lessons AS t WHERE t.id = d.lesson_id), d.started, d.completed, d.contribution, d.watched, clock_timestamp()
  FROM (
    SELECT user_id, lesson_id, course_id, count(*) AS started, count(*) FILTER (WHERE completed AND counted) AS completed,
      sum(contribution_ms) AS contribution, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched
    FROM new_rows GROUP BY user_id, lesson_id, course_id ORDER BY user_id, lesson_id
  ) AS d
  ON CONFLICT (user_id, lesson_id) DO UPDATE SET
    started_files = l.started_files + excluded.started_files,
    completed_files = l.completed_files + excluded.completed_files,
    contribution_ms = l.contribution_ms + excluded.contribution_ms,
    watched_ms = l.watched_ms + excluded.watched_ms,
    version = nextval('progress_version'), last_updated = excluded.last_updated;

  INSERT INTO course_progress AS c (user_id, course_id, total_files, total_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT d.user_id, d.course_id, (SELECT total_files FROM courses AS t WHERE t.id = d.course_id),
    (SELECT total_ms FROM courses AS t WHERE t.id = d.course_id), d.started, d.completed, d.contribution, d.watched, clock_timestamp()
  FROM (
    SELECT user_id, course_id, count(*) AS started, count(*) FILTER (WHERE completed AND counted) AS completed,
      sum(contribution_ms) AS contribution, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched
    FROM new_rows GROUP BY user_id, course_id ORDER BY user_id, course_id
  ) AS d
  ON CONFLICT (user_id, course_id) DO UPDATE SET
    started_files = c.started_files + excluded.started_files,
    completed_files = c.completed_files + excluded.completed_files,
    contribution_ms = c.contribution_ms + excluded.contribution_ms,
    watched_ms = c.watched_ms + excluded.watched_ms,
    version = nextval('progress_version'), last_updated = excluded.last_updated;

  PERFORM notify_changes(
    array_agg(json_build_array(course_id, lesson_id, file_id, user_id, version)::text), array_agg(DISTINCT course_id))
    FROM new_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION roll_up_insert IS 'Adds new rows of user_progress to the sums of lessons and courses.';

CREATE OR REPLACE TRIGGER roll_up_insert AFTER INSERT ON user_progress REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT WHEN (coalesce(current_setting('playhead.writer', true), '') <> 'beats') EXECUTE FUNCTION roll_up_insert();
