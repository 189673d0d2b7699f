-- New rows add, old rows subtract. Deltas are integers stored in the rows, never read from the catalogue. The two transition
-- tables are never joined with each other: the planner has no statistics for them and would choose a nested loop.
-- The plans may be made once a connection, while the tables are almost empty: the settings leave only look-ups by index.
CREATE OR REPLACE FUNCTION roll_up() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  deltas progress_delta[];
BEGIN
  CASE TG_OP
    WHEN 'INSERT' THEN
      deltas := ARRAY(
        SELECT ROW(user_id, lesson_id, course_id, count(*), count(*) FILTER (WHERE completed AND counted), sum(contribution_ms),
          coalesce(sum(watched_ms) FILTER (WHERE counted), 0))::progress_delta
        FROM new_rows GROUP BY user_id, lesson_id, course_id ORDER BY user_id, lesson_id);
    WHEN 'DELETE' THEN
      deltas := ARRAY(
        SELECT ROW(user_id, lesson_id, course_id, -count(*), -count(*) FILTER (WHERE completed AND counted), -sum(contribution_ms),
          -coalesce(sum(watched_ms) FILTER (WHERE counted), 0))::progress_delta
        FROM old_rows GROUP BY user_id, lesson_id, course_id ORDER BY user_id, lesson_id);
    WHEN 'UPDATE' THEN
      deltas := ARRAY(
        SELECT ROW(user_id, lesson_id, course_id, sum(started), sum(completed), sum(contribution), sum(watched))::progress_delta
        FROM (
          SELECT user_id, lesson_id, course_id, 1 AS started, (completed AND counted)::integer AS completed,
            contribution_ms AS contribution, CASE WHEN counted THEN watched_ms ELSE 0 END AS watched FROM new_rows
          UNION ALL
          SELECT user_id, lesson_id, course_id, -1, -(completed AND counted)::integer,
            -contribution_ms, CASE WHEN counted THEN -watched_ms ELSE 0 END FROM old_rows
        ) AS signed_rows
        GROUP BY user_id, lesson_id, course_id
        HAVING sum(started) <> 0 OR sum(completed) <> 0 OR sum(contribution) <> 0 OR sum(watched) <> 0
        ORDER BY user_id, lesson_id);
  END CASE;
  PERFORM add_to_sums(deltas);

  IF TG_OP = 'DELETE' THEN
    -- A removal gets a version later than every version that was told of the row.
    PERFORM notify_changes(
      array_agg(json_build_array(course_id, lesson_id, file_id, user_id, nextval('progress_version'))::text),
      array_agg(DISTINCT course_id))
      FROM old_rows HAVING count(*) > 0;
  ELSE
    PERFORM notify_changes(
      array_agg(json_build_array(course_id, lesson_id, file_id, user_id, version)::text), array_agg(DISTINCT course_id))
      FROM new_rows HAVING count(*) > 0;
  END IF;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION roll_up IS 'Keeps lesson_progress and course_progress equal to the sums of user_progress, whoever writes it, and notifies the keys of the rows.';

CREATE OR REPLACE TRIGGER roll_up_insert AFTER INSERT ON user_progress REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION roll_up();
CREATE OR REPLACE TRIGGER roll_up_update AFTER UPDATE ON user_progress REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION roll_up();
CREATE OR REPLACE TRIGGER roll_up_delete AFTER DELETE ON user_progress REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION roll_up();
