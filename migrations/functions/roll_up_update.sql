-- Upserts, not UPDATE … FROM: an upsert finds its row by the unique index whatever the planner believes, while the plan of a join
-- is kept for the life of a connection, and one made while the sums were few would read all of them for every delta. For the
-- same reason the two transition tables are never joined with each other.
CREATE OR REPLACE FUNCTION roll_up_update() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  moved boolean;
BEGIN
  WITH d AS MATERIALIZED (
    SELECT user_id, lesson_id, course_id, sum(started) AS started, sum(completed) AS completed,
      sum(contribution) AS contribution, sum(watched) AS watched
    FROM (
      SELECT user_id, lesson_id, course_id, 1 AS started, (completed AND counted)::integer AS completed,
        contribution_ms AS contribution, CASE WHEN counted THEN watched_ms ELSE 0 END AS watched FROM new_rows
      UNION ALL
      SELECT user_id, lesson_id, course_id, -1, -(completed AND counted)::integer,
        -contribution_ms, CASE WHEN counted THEN -watched_ms ELSE 0 END FROM old_rows
    ) AS signed_rows
    GROUP BY user_id, lesson_id, course_id
    HAVING sum(started) <> 0 OR sum(completed) <> 0 OR sum(contribution) <> 0 OR sum(watched) <> 0
  ), lesson_deltas AS (
    -- A row is there already, but where a file moved to a lesson that the user had not begun.
    INSERT INTO lesson_progress AS l (id, user_id, lesson_id, course_id, total_files, total_ms,
      started_files, completed_files, contribution_ms, watched_ms, version, last_updated)
    SELECT CASE WHEN started > 0 THEN nextval('lesson_progress_id_seq') ELSE 0 END, user_id, lesson_id, course_id,
      CASE WHEN started > 0 THEN (SELECT total_files FROM lessons AS t WHERE t.id = d.lesson_id) ELSE 0 END,
      CASE WHEN started > 0 THEN (SELECT total_ms FROM lessons AS t WHERE t.id = d.lesson_id) ELSE 0 END,
      started, completed, contribution, watched, CASE WHEN started > 0 THEN nextval('progress_version') ELSE 0 END, clock_timestamp()
    FROM d ORDER BY user_id, lesson_id
    ON CONFLICT (user_id, lesson_id) DO UPDATE SET
      started_files = l.started_files + excluded.started_files,
      completed_files = l.completed_files + excluded.completed_files,
      contribution_ms = l.contribution_ms + excluded.contribution_ms,
      watched_ms = l.watched_ms + excluded.watched_ms,
      version = nextval('progress_version'), last_updated = excluded.last_updated
  ), course_deltas AS (
    INSERT INTO course_progress AS c (id, user_id, course_id, total_files, total_ms,
      started_files, completed_files, contribution_ms, watched_ms, version, last_updated)
    SELECT 0, user_id, course_id, 0, 0, sum(started), sum(completed), sum(contribution), sum(watched), 0, clock_timestamp()
    FROM d GROUP BY user_id, course_id
    HAVING sum(started) <> 0 OR sum(completed) <> 0 OR sum(contribution) <> 0 OR sum(watched) <> 0
    ORDER BY user_id, course_id
    ON CONFLICT (user_id, course_id) DO UPDATE SET
      started_files = c.started_files + excluded.started_files,
      completed_files = c.completed_files + excluded.completed_files,
      contribution_ms = c.contribution_ms + excluded.contribution_ms,
      watched_ms = c.watched_ms + excluded.watched_ms,
      version = nextval('progress_version'), last_updated = excluded.last_updated
  )
  SELECT coalesce(bool_or(started < 0), false) INTO moved FROM d;
  IF moved THEN
    DELETE FROM lesson_progress AS l USING (SELECT DISTINCT user_id, lesson_id FROM old_rows) AS o
      WHERE l.user_id = o.user_id AND l.lesson_id = o.lesson_id AND l.started_files = 0;
  END IF;

  PERFORM notify_changes(
    array_agg(json_build_array(course_id, lesson_id, file_id, user_id, version)::text), array_agg(DISTINCT course_id))
    FROM new_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION roll_up_update IS 'Adds the difference between new and old rows of user_progress to the sums of lessons and courses.';

CREATE OR REPLACE TRIGGER roll_up_update AFTER UPDATE ON user_progress REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT WHEN (coalesce(current_setting('playhead.writer', true), '') <> 'beats') EXECUTE FUNCTION roll_up_update();
