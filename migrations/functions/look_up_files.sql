-- The settings hold for the plans of this function alone: look-ups by index, however small the tables were when the connection
-- made its plan. OFFSET 0 keeps the planner from turning a look-up into a join.
CREATE OR REPLACE FUNCTION look_up_files(file_ids text[]) RETURNS TABLE (
  id text, lesson_id text, course_id text, duration_ms integer, counted boolean, complete_at_ms integer, end_ms integer,
  catalogue_version bigint
) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT f.id, f.lesson_id, f.course_id, f.duration_ms, f.counted, f.complete_at_ms, coalesce(f.credits_at_ms, f.duration_ms),
    c.catalogue_version
  FROM unnest(file_ids) AS b (id)
  CROSS JOIN LATERAL (SELECT * FROM files AS f WHERE f.id = b.id OFFSET 0) AS f
  CROSS JOIN LATERAL (SELECT c.catalogue_version FROM courses AS c WHERE c.id = f.course_id OFFSET 0) AS c;
END $$;
COMMENT ON FUNCTION look_up_files IS 'Reads files by their ids, with the version of their catalogue.';
