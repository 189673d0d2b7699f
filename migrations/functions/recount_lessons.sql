CREATE OR REPLACE FUNCTION recount_lessons(course text) RETURNS TABLE (
  user_id text, lesson_id text, course_id text, total_files integer, total_ms bigint, assumed_ms bigint,
  started_files integer, completed_files integer, contribution_ms bigint, watched_ms bigint
) LANGUAGE sql STABLE AS $$
  WITH counting AS (
    SELECT f.id, f.lesson_id, f.duration_ms,
      coalesce(f.duration_ms, floor(avg(f.duration_ms) FILTER (WHERE f.required AND f.retired_at IS NULL AND l.retired_at IS NULL) OVER ()), 0)::integer
        AS weight_ms,
      f.required AND f.retired_at IS NULL AND l.retired_at IS NULL AS counted
    FROM files AS f JOIN lessons AS l ON l.id = f.lesson_id WHERE f.course_id = course
  ), totals AS (
    SELECT c.lesson_id, (count(*) FILTER (WHERE c.counted))::integer AS files,
      coalesce(sum(c.duration_ms) FILTER (WHERE c.counted), 0)::bigint AS ms,
      coalesce(sum(c.weight_ms) FILTER (WHERE c.counted AND c.duration_ms IS NULL), 0)::bigint AS assumed
    FROM counting AS c GROUP BY c.lesson_id
  )
  SELECT p.user_id, c.lesson_id, course, t.files, t.ms, t.assumed, count(*)::integer,
    (count(*) FILTER (WHERE p.completed AND c.counted))::integer,
    coalesce(sum(CASE
      WHEN p.completed THEN c.weight_ms
      ELSE least(
        greatest(watched_within(p.watched, 0, c.duration_ms), c.weight_ms::bigint * p.reported_bp / 10000),
        c.weight_ms::bigint * 999 / 1000)
    END) FILTER (WHERE c.counted), 0)::bigint,
    coalesce(sum(watched_within(p.watched, 0, c.duration_ms)) FILTER (WHERE c.counted), 0)::bigint
  FROM user_progress AS p JOIN counting AS c ON c.id = p.file_id JOIN totals AS t ON t.lesson_id = c.lesson_id
  GROUP BY p.user_id, c.lesson_id, t.files, t.ms, t.assumed
$$;
COMMENT ON FUNCTION recount_lessons IS 'Computes what lesson_progress should hold for a course, from user_progress and the catalogue alone.';
