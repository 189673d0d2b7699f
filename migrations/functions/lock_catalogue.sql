CREATE OR REPLACE FUNCTION lock_catalogue(course_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('playhead.writer', 'operation', true);
  PERFORM pg_advisory_xact_lock(7701, 0);
  PERFORM pg_advisory_xact_lock_shared(7701, 1);
  PERFORM pg_advisory_xact_lock(course_lock(course_id));
END $$;
COMMENT ON FUNCTION lock_catalogue IS 'The first statement of a change of the catalogue and of a recount: until its transaction ends, nobody else writes progress of this course. The order of all locks is told at lock_writers.';
