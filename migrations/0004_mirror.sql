-- The mirror is a copy of progress outside of the database. While it is on, every statement on user_progress writes the keys that
-- it touched to progress_journal. A follower reads these keys, writes the newest state of each row to the mirror, and deletes
-- the keys that it has done.

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
COMMENT ON TABLE mirror IS 'Holds one row: whether progress is mirrored, and how far the follower has come.';
COMMENT ON COLUMN mirror.enabled IS 'Whether the triggers of user_progress write the journal.';
COMMENT ON COLUMN mirror.system_identifier IS 'With timeline, database_oid and table_oid: the database that the mirror followed last. A database with other values was restored or took over, and may lack rows that the mirror has.';
COMMENT ON COLUMN mirror.timeline IS 'Every failover and every recovery to a point in time raises it.';
COMMENT ON COLUMN mirror.database_oid IS 'Differs in a copy of the database on the same cluster.';
COMMENT ON COLUMN mirror.table_oid IS 'The oid of user_progress. Differs after a dump was restored.';
COMMENT ON COLUMN mirror.cursor IS 'Every transaction before this one is mirrored, and its keys are deleted from the journal.';
COMMENT ON COLUMN mirror.pass IS 'The full pass that is due or under way. check writes rows that the mirror lacks, write writes every row, sweep deletes from the mirror the documents that have no row here.';
COMMENT ON COLUMN mirror.pass_user IS 'With pass_file: the key that the pass has reached.';
COMMENT ON COLUMN mirror.delete_unknown IS 'Whether a sweep ends the pass.';
COMMENT ON COLUMN mirror.held IS 'Whether mirroring waits for an operator, because the mirror holds the progress of another database.';
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
COMMENT ON TABLE progress_journal IS 'Keys of user_progress that are not mirrored yet, one row for each statement. The follower reads in the order of xid, up to the oldest transaction that still runs: below it no row can appear any more.';
