CREATE OR REPLACE FUNCTION recount_course(course text) RETURNS TABLE (
  user_id text, course_id text, total_files integer, total_ms bigint, assumed_ms bigint,
  started_files integer, completed_files integer, contribution_ms bigint, watched_ms bigint
) LANGUAGE sql STABLE AS $$
  SELECT r.user_id, course, t.files, t.ms, t.assumed, sum(r.started_files)::integer, sum(r.completed_files)::integer,
    sum(r.contribution_ms)::bigint, sum(r.watched_ms)::bigint
  FROM recount_lessons(course) AS r CROSS JOIN (
    SELECT count(*)::integer AS files, coalesce(sum(f.duration_ms), 0)::bigint AS ms,
      ((count(*) - count(f.duration_ms)) * coalesce(floor(avg(f.duration_ms)), 0))::bigint AS assumed
    FROM files AS f JOIN lessons AS l ON l.id = f.lesson_id
    WHERE f.course_id = course AND f.required AND f.retired_at IS NULL AND l.retired_at IS NULL
  ) AS t
  GROUP BY r.user_id, t.files, t.ms, t.assumed
$$;
COMMENT ON FUNCTION recount_course IS 'Computes what course_progress should hold for a course, from user_progress and the catalogue alone.';
