-- The plans may be made while the tables are almost empty, and a course of 16,000 files comes next. So every row is found by one
-- look-up: a join that is planned for one row would be a nested loop, which takes minutes for thousands.
CREATE OR REPLACE FUNCTION apply_catalogue(course text) RETURNS void LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
  mean_ms integer;
  threshold numeric;
BEGIN
  PERFORM pg_notify('catalogue', course), pg_notify('progress', json_build_object('again', course)::text);
  -- While a course is deleted, its lessons and files go one after another, perhaps after its sums.
  IF NOT EXISTS (SELECT FROM courses WHERE id = course) THEN
    RETURN;
  END IF;
  PERFORM set_config('playhead.catalogue', 'applying', true);
  SELECT completion_threshold INTO threshold FROM courses WHERE id = course;
  SELECT coalesce(floor(avg(duration_ms)), 0) INTO mean_ms FROM files AS f
  WHERE course_id = course AND required AND retired_at IS NULL AND (SELECT retired_at IS NULL FROM lessons WHERE id = f.lesson_id);
  UPDATE files AS f SET counted = facts.counted, complete_at_ms = facts.complete_at_ms, assumed_ms = facts.assumed_ms
  FROM (
    SELECT f.id, f.required AND f.retired_at IS NULL AND (SELECT retired_at IS NULL FROM lessons WHERE id = f.lesson_id) AS counted,
      CASE WHEN f.duration_ms IS NOT NULL THEN
        ceil(coalesce(f.completion_threshold, threshold, 0.90)
          * greatest(coalesce(f.credits_at_ms, f.duration_ms) - coalesce(f.start_ms, 0), 1))::integer
      END AS complete_at_ms,
      CASE WHEN f.duration_ms IS NULL THEN mean_ms END AS assumed_ms
    FROM files AS f WHERE f.course_id = course OFFSET 0
  ) AS facts
  WHERE f.id = facts.id
    AND (f.counted, f.complete_at_ms, f.assumed_ms) IS DISTINCT FROM (facts.counted, facts.complete_at_ms, facts.assumed_ms);

  UPDATE lessons AS l SET total_files = totals.files, total_ms = totals.ms, assumed_ms = totals.assumed
  FROM (
    SELECT l.id, count(f.id) AS files, coalesce(sum(f.duration_ms), 0) AS ms, coalesce(sum(f.assumed_ms), 0) AS assumed
    FROM lessons AS l LEFT JOIN files AS f ON f.lesson_id = l.id AND f.counted
    WHERE l.course_id = course GROUP BY l.id
  ) AS totals
  WHERE l.id = totals.id
    AND (l.total_files, l.total_ms, l.assumed_ms) IS DISTINCT FROM (totals.files, totals.ms, totals.assumed);
  UPDATE courses AS c SET total_files = totals.files, total_ms = totals.ms, assumed_ms = totals.assumed,
    catalogue_version = nextval('progress_version')
  FROM (
    SELECT count(*) AS files, coalesce(sum(duration_ms), 0) AS ms, coalesce(sum(assumed_ms), 0) AS assumed
    FROM files WHERE course_id = course AND counted
  ) AS totals
  WHERE c.id = course;

  -- The trigger complete_row copies the facts of the catalogue, and completes rows that have reached their threshold.
  PERFORM set_config('playhead.writer', 'operation', true);
  UPDATE user_progress AS p SET duration_ms = f.duration_ms
  FROM files AS f
  WHERE f.course_id = course AND p.file_id = f.id
    AND ((p.lesson_id, p.duration_ms, p.assumed_ms, p.counted) IS DISTINCT FROM (f.lesson_id, f.duration_ms, f.assumed_ms, f.counted)
      OR (NOT p.completed AND p.watched_ms >= f.complete_at_ms
        AND watched_within(p.watched, coalesce(f.start_ms, 0), coalesce(f.credits_at_ms, f.duration_ms)) >= f.complete_at_ms));

  UPDATE lesson_progress AS l SET total_files = t.total_files, total_ms = t.total_ms, assumed_ms = t.assumed_ms,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM lessons AS t
  WHERE t.course_id = course AND l.lesson_id = t.id
    AND (l.total_files, l.total_ms, l.assumed_ms) IS DISTINCT FROM (t.total_files, t.total_ms, t.assumed_ms);
  UPDATE course_progress AS c SET total_files = t.total_files, total_ms = t.total_ms, assumed_ms = t.assumed_ms,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM courses AS t
  WHERE t.id = course AND c.course_id = t.id
    AND (c.total_files, c.total_ms, c.assumed_ms) IS DISTINCT FROM (t.total_files, t.total_ms, t.assumed_ms);

  PERFORM set_config('playhead.catalogue', '', true);
END $$;
COMMENT ON FUNCTION apply_catalogue IS 'Brings everything that is derived from the tree of a course in line with it. The caller holds the lock of the course.';
