CREATE OR REPLACE FUNCTION lock_stranger_catalogue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Nobody knows which courses the statement touches before it has locked its rows, so it waits for every course.
  PERFORM pg_advisory_xact_lock(7701, 0);
  PERFORM pg_advisory_xact_lock(7701, 1);
  RETURN NULL;
END $$;
COMMENT ON FUNCTION lock_stranger_catalogue IS 'Lets a hand-written statement on the catalogue, or one that deletes users, wait for all writers.';

CREATE OR REPLACE TRIGGER a_lock_stranger BEFORE INSERT OR UPDATE OR DELETE ON courses FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_catalogue();
CREATE OR REPLACE TRIGGER a_lock_stranger BEFORE INSERT OR UPDATE OR DELETE ON lessons FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_catalogue();
CREATE OR REPLACE TRIGGER a_lock_stranger BEFORE INSERT OR UPDATE OR DELETE ON files FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_catalogue();
CREATE OR REPLACE TRIGGER a_lock_stranger BEFORE DELETE ON users FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_catalogue();
