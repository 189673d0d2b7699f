CREATE OR REPLACE FUNCTION recount_lessons(course text) RETURNS TABLE (
  user_id text, lesson_id text, course_id text, total_files integer, total_ms bigint,
  started_files integer, completed_files integer, contribution_ms bigint, watched_ms bigint
) LANGUAGE sql STABLE AS $$
  WITH counting AS (
    SELECT f.id, f.lesson_id, f.duration_ms, f.required AND f.retired_at IS NULL AND l.retired_at IS NULL AS counted
    FROM files AS f JOIN lessons AS l ON l.id = f.lesson_id WHERE f.course_id = course
  ), totals AS (
    SELECT c.lesson_id, (count(*) FILTER (WHERE c.counted))::integer AS files,
      coalesce(sum(c.duration_ms) FILTER (WHERE c.counted), 0)::bigint AS ms
    FROM counting AS c GROUP BY c.lesson_id
  )
  SELECT p.user_id, c.lesson_id, course, t.files, t.ms, count(*)::integer,
    (count(*) FILTER (WHERE p.completed AND c.counted))::integer,
    coalesce(sum(CASE
      WHEN c.duration_ms IS NULL THEN 0
      WHEN p.completed THEN c.duration_ms
      ELSE least(greatest(multirange_ms(p.watched), c.duration_ms::bigint * p.reported_bp / 10000), c.duration_ms::bigint * 999 / 1000)
    END) FILTER (WHERE c.counted), 0)::bigint,
    coalesce(sum(multirange_ms(p.watched)) FILTER (WHERE c.counted), 0)::bigint
  FROM user_progress AS p JOIN counting AS c ON c.id = p.file_id JOIN totals AS t ON t.lesson_id = c.lesson_id
  GROUP BY p.user_id, c.lesson_id, t.files, t.ms
$$;
COMMENT ON FUNCTION recount_lessons IS 'Computes what lesson_progress should hold for a course, from user_progress and the catalogue alone.';
