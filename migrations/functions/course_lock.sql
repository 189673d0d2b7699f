CREATE OR REPLACE FUNCTION course_lock(course_id text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT hashtextextended(course_id, 7703) $$;
COMMENT ON FUNCTION course_lock IS 'The advisory lock of a course, as lock_writers and lock_catalogue take it.';
