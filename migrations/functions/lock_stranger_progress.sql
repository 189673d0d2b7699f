CREATE OR REPLACE FUNCTION lock_stranger_progress() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7701, 0);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION lock_stranger_progress IS 'Lets a hand-written statement on progress wait for changes of the catalogue, and these for it.';

CREATE OR REPLACE TRIGGER a_lock_stranger BEFORE INSERT OR UPDATE OR DELETE ON user_progress FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_progress();
