CREATE OR REPLACE FUNCTION playhead_check_course(course_id text)
RETURNS TABLE (kind text, user_id text, id text, problem text) LANGUAGE sql STABLE AS $$
  SELECT 'file', p.user_id, p.file_id, format('watched_ms is %s, its ranges are %s long', p.watched_ms, watched_within(p.watched, 0, p.duration_ms))
  FROM user_progress AS p WHERE p.course_id = $1 AND p.watched_ms <> watched_within(p.watched, 0, p.duration_ms)
  UNION ALL
  SELECT 'lesson', coalesce(l.user_id, r.user_id), coalesce(l.lesson_id, r.lesson_id),
    CASE WHEN l.user_id IS NULL THEN 'is missing' WHEN r.user_id IS NULL THEN 'has no progress behind it'
      ELSE format('is %s, a recount gives %s',
        row(l.total_files, l.total_ms, l.assumed_ms, l.started_files, l.completed_files, l.contribution_ms, l.watched_ms),
        row(r.total_files, r.total_ms, r.assumed_ms, r.started_files, r.completed_files, r.contribution_ms, r.watched_ms)) END
  FROM (SELECT * FROM lesson_progress AS s WHERE s.course_id = $1) AS l
  FULL JOIN recount_lessons($1) AS r ON r.user_id = l.user_id AND r.lesson_id = l.lesson_id
  WHERE (l.total_files, l.total_ms, l.assumed_ms, l.started_files, l.completed_files, l.contribution_ms, l.watched_ms)
    IS DISTINCT FROM (r.total_files, r.total_ms, r.assumed_ms, r.started_files, r.completed_files, r.contribution_ms, r.watched_ms)
  UNION ALL
  SELECT 'course', coalesce(c.user_id, r.user_id), $1,
    CASE WHEN c.user_id IS NULL THEN 'is missing' WHEN r.user_id IS NULL THEN 'has no progress behind it'
      ELSE format('is %s, a recount gives %s',
        row(c.total_files, c.total_ms, c.assumed_ms, c.started_files, c.completed_files, c.contribution_ms, c.watched_ms),
        row(r.total_files, r.total_ms, r.assumed_ms, r.started_files, r.completed_files, r.contribution_ms, r.watched_ms)) END
  FROM (SELECT * FROM course_progress AS s WHERE s.course_id = $1) AS c
  FULL JOIN recount_course($1) AS r ON r.user_id = c.user_id
  WHERE (c.total_files, c.total_ms, c.assumed_ms, c.started_files, c.completed_files, c.contribution_ms, c.watched_ms)
    IS DISTINCT FROM (r.total_files, r.total_ms, r.assumed_ms, r.started_files, r.completed_files, r.contribution_ms, r.watched_ms)
$$;
COMMENT ON FUNCTION playhead_check_course IS 'Lists where the stored sums of a course differ from a recount. No row means that all are right.';
