-- PostgreSQL puts the body in the place of a call in FROM. For a user that is null it finds nothing and reads nothing: so a
-- caller leaves out the rows that are there.
CREATE OR REPLACE FUNCTION reset_mark(user_id text, course_id text, file_id text)
RETURNS TABLE (epoch integer, reset_at timestamptz, version bigint) LANGUAGE sql STABLE ROWS 1 AS $$
  SELECT coalesce(max(m.epoch), 0), max(m.reset_at), coalesce(max(m.version), 0)
  FROM reset_marks AS m
  WHERE m.user_id = $1 AND m.file_id = ANY (ARRAY['', $3])
    AND m.course_id = ANY (ARRAY['', $2] || ARRAY(SELECT f.course_id FROM former_files AS f WHERE f.file_id = $3))
$$;
COMMENT ON FUNCTION reset_mark IS 'Where a file begins of which the user has no row: one row, zeros where there is no mark.';
