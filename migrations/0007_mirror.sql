-- Up Migration

-- A mirror of progress outside of the database. While it is on, every statement on user_progress leaves the keys that
-- it touched in progress_journal; a follower reads them, takes each row's newest state to the mirror, and deletes what
-- it has done.

CREATE TABLE mirror (
  id boolean PRIMARY KEY DEFAULT true CHECK (id),
  enabled boolean NOT NULL DEFAULT false,
  project text,
  system_identifier bigint,
  timeline text,
  database_oid oid,
  table_oid oid,
  cursor xid8 NOT NULL DEFAULT '0',
  mirrored_at timestamptz,
  pass text CHECK (pass IN ('check', 'write', 'sweep')),
  pass_user text NOT NULL DEFAULT '',
  pass_file text NOT NULL DEFAULT '',
  delete_unknown boolean NOT NULL DEFAULT false,
  held boolean NOT NULL DEFAULT false
);
COMMENT ON TABLE mirror IS 'One row: whether progress is mirrored, and how far the follower is.';
COMMENT ON COLUMN mirror.enabled IS 'The switch that the triggers of user_progress look at.';
COMMENT ON COLUMN mirror.system_identifier IS 'With timeline, database_oid and table_oid: the database that the mirror followed last. Another one was restored, or took over: it may lack what the mirror has.';
COMMENT ON COLUMN mirror.timeline IS 'Raised by every failover and every recovery to a point in time.';
COMMENT ON COLUMN mirror.database_oid IS 'Another one in a copy of the database on the same cluster.';
COMMENT ON COLUMN mirror.table_oid IS 'Of user_progress: another one after a dump was restored.';
COMMENT ON COLUMN mirror.cursor IS 'What committed before is mirrored, and gone from the journal.';
COMMENT ON COLUMN mirror.pass IS 'A full pass that is to be done, or under way: check writes what the mirror lacks, write writes everything, sweep deletes from the mirror what is unknown here.';
COMMENT ON COLUMN mirror.pass_user IS 'With pass_file: the pass has come so far.';
COMMENT ON COLUMN mirror.delete_unknown IS 'Whether a sweep ends the pass.';
COMMENT ON COLUMN mirror.held IS 'Nothing is mirrored, because the mirror was found to hold the progress of another database.';
INSERT INTO mirror DEFAULT VALUES;

CREATE TABLE progress_journal (
  xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
  id bigserial,
  at timestamptz NOT NULL DEFAULT clock_timestamp(),
  changed_users text[] NOT NULL,
  changed_files text[] NOT NULL,
  deleted_users text[] NOT NULL DEFAULT '{}',
  deleted_files text[] NOT NULL DEFAULT '{}',
  PRIMARY KEY (xid, id)
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
COMMENT ON TABLE progress_journal IS 'Keys of user_progress that the mirror has yet to hear of, one row a statement. Read in the order of xid, up to the oldest transaction that still runs: below it nothing can appear any more.';

CREATE FUNCTION journal_progress() RETURNS trigger LANGUAGE plpgsql AS $$
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
    -- Old and new rows come in the same order: only a row that was given another key leaves one behind.
    IF deleted_users = changed_users AND deleted_files = changed_files THEN
      deleted_users := '{}';
      deleted_files := '{}';
    END IF;
  END IF;
  -- One row, but for a statement so large that its keys might not fit into one.
  FOR start IN 1..greatest(cardinality(changed_users), cardinality(deleted_users)) BY 100000 LOOP
    INSERT INTO progress_journal (changed_users, changed_files, deleted_users, deleted_files)
    VALUES (changed_users[start:start + 99999], changed_files[start:start + 99999],
      deleted_users[start:start + 99999], deleted_files[start:start + 99999]);
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION journal_progress IS 'One row in progress_journal a statement, while a mirror is on.';

-- A function's INSERT, UPDATE and DELETE triggers are compiled apart from each other, so each finds the tables that it names.
CREATE TRIGGER journal_insert AFTER INSERT ON user_progress REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION journal_progress();
CREATE TRIGGER journal_update AFTER UPDATE ON user_progress REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION journal_progress();
CREATE TRIGGER journal_delete AFTER DELETE ON user_progress REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION journal_progress();
