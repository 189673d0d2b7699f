CREATE OR REPLACE FUNCTION take_from_sums(deltas progress_delta[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  UPDATE lesson_progress AS l SET
    started_files = l.started_files + d.started, completed_files = l.completed_files + d.completed,
    contribution_ms = l.contribution_ms + d.contribution_ms, watched_ms = l.watched_ms + d.watched_ms,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM unnest(deltas) AS d
  WHERE l.user_id = d.user_id AND l.lesson_id = d.lesson_id AND d.started < 0;
  DELETE FROM lesson_progress AS l USING unnest(deltas) AS d
  WHERE l.user_id = d.user_id AND l.lesson_id = d.lesson_id AND d.started < 0 AND l.started_files = 0;

  UPDATE course_progress AS c SET
    started_files = c.started_files + d.started, completed_files = c.completed_files + d.completed,
    contribution_ms = c.contribution_ms + d.contribution_ms, watched_ms = c.watched_ms + d.watched_ms,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM (
    SELECT user_id, course_id, sum(started) AS started, sum(completed) AS completed,
      sum(contribution_ms) AS contribution_ms, sum(watched_ms) AS watched_ms
    FROM unnest(deltas) GROUP BY user_id, course_id HAVING sum(started) < 0
  ) AS d
  WHERE c.user_id = d.user_id AND c.course_id = d.course_id;
  DELETE FROM course_progress AS c USING unnest(deltas) AS d
  WHERE c.user_id = d.user_id AND c.course_id = d.course_id AND d.started < 0 AND c.started_files = 0;
END $$;
COMMENT ON FUNCTION take_from_sums IS 'Adds the deltas that remove rows of user_progress; a sum with no rows behind it goes. Called by add_to_sums alone.';
