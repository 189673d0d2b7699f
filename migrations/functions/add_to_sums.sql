-- A delta that removes rows of user_progress only updates: when a course is deleted, its sums may be gone already and must not
-- come back. Every other delta is an upsert, which finds its row by the unique index whatever the planner believes of the
-- table, and adds to the newest version of the row, whoever else writes it. Versions are drawn after the row is locked, so of
-- two states of a sum the later has the higher version. OFFSET 0 keeps the planner from turning a look-up into a join.
CREATE OR REPLACE FUNCTION add_to_sums(deltas progress_delta[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO lesson_progress AS l (user_id, lesson_id, course_id, total_files, total_ms, assumed_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT d.user_id, d.lesson_id, d.course_id, coalesce(t.total_files, 0), coalesce(t.total_ms, 0), coalesce(t.assumed_ms, 0),
    d.started, d.completed, d.contribution_ms, d.watched_ms, clock_timestamp()
  FROM unnest(deltas) AS d
  LEFT JOIN LATERAL (
    SELECT t.total_files, t.total_ms, t.assumed_ms FROM lessons AS t WHERE t.id = d.lesson_id AND d.started > 0 OFFSET 0
  ) AS t ON true
  WHERE d.started >= 0
  ON CONFLICT (user_id, lesson_id) DO UPDATE SET
    started_files = l.started_files + excluded.started_files, completed_files = l.completed_files + excluded.completed_files,
    contribution_ms = l.contribution_ms + excluded.contribution_ms, watched_ms = l.watched_ms + excluded.watched_ms,
    version = nextval('progress_version'), last_updated = excluded.last_updated;

  INSERT INTO course_progress AS c (user_id, course_id, total_files, total_ms, assumed_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT d.user_id, d.course_id, coalesce(t.total_files, 0), coalesce(t.total_ms, 0), coalesce(t.assumed_ms, 0),
    d.started, d.completed, d.contribution_ms, d.watched_ms, clock_timestamp()
  FROM (
    SELECT user_id, course_id, sum(started) AS started, sum(completed) AS completed,
      sum(contribution_ms) AS contribution_ms, sum(watched_ms) AS watched_ms
    FROM unnest(deltas) GROUP BY user_id, course_id HAVING sum(started) >= 0 ORDER BY user_id, course_id
  ) AS d
  LEFT JOIN LATERAL (
    SELECT t.total_files, t.total_ms, t.assumed_ms FROM courses AS t WHERE t.id = d.course_id AND d.started > 0 OFFSET 0
  ) AS t ON true
  ON CONFLICT (user_id, course_id) DO UPDATE SET
    started_files = c.started_files + excluded.started_files, completed_files = c.completed_files + excluded.completed_files,
    contribution_ms = c.contribution_ms + excluded.contribution_ms, watched_ms = c.watched_ms + excluded.watched_ms,
    version = nextval('progress_version'), last_updated = excluded.last_updated;

  IF EXISTS (SELECT FROM unnest(deltas) AS d WHERE d.started < 0) THEN
    PERFORM take_from_sums(deltas);
  END IF;
END $$;
COMMENT ON FUNCTION add_to_sums IS 'Adds deltas to lesson_progress and course_progress. Called by roll_up alone, under its settings.';
