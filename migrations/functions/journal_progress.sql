-- PostgreSQL compiles a trigger function once for each of its triggers. So each finds the transition tables that it names,
-- although one function serves all three.
CREATE OR REPLACE FUNCTION journal_progress() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  changed_users text[] := '{}';
  changed_files text[] := '{}';
  deleted_users text[] := '{}';
  deleted_files text[] := '{}';
BEGIN
  IF NOT EXISTS (SELECT FROM mirror WHERE enabled) THEN
    RETURN NULL;
  END IF;
  IF TG_OP <> 'DELETE' THEN
    SELECT coalesce(array_agg(user_id), '{}'), coalesce(array_agg(file_id), '{}') INTO changed_users, changed_files FROM new_rows;
  END IF;
  IF TG_OP <> 'INSERT' THEN
    SELECT coalesce(array_agg(user_id), '{}'), coalesce(array_agg(file_id), '{}') INTO deleted_users, deleted_files FROM old_rows;
    -- Old and new rows come in the same order. An old key is gone only where a row was given another key.
    IF deleted_users = changed_users AND deleted_files = changed_files THEN
      deleted_users := '{}';
      deleted_files := '{}';
    END IF;
  END IF;
  -- More than one row only for a statement whose keys might not fit into one.
  FOR start IN 1..greatest(cardinality(changed_users), cardinality(deleted_users)) BY 100000 LOOP
    INSERT INTO progress_journal (changed_users, changed_files, deleted_users, deleted_files)
    VALUES (changed_users[start:start + 99999], changed_files[start:start + 99999],
      deleted_users[start:start + 99999], deleted_files[start:start + 99999]);
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION journal_progress IS 'Writes the keys that a statement touched to progress_journal, in one row, while the mirror is on.';

CREATE OR REPLACE TRIGGER journal_insert AFTER INSERT ON user_progress REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION journal_progress();
CREATE OR REPLACE TRIGGER journal_update AFTER UPDATE ON user_progress REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION journal_progress();
CREATE OR REPLACE TRIGGER journal_delete AFTER DELETE ON user_progress REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION journal_progress();
