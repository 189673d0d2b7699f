-- A process decides a batch by the rows and catalogues that it remembers. Here PostgreSQL checks what no statement of the batch
-- checks by itself: the catalogues, and the rows that the batch leaves as they are. PH002: one of them has another version.
CREATE OR REPLACE FUNCTION begin_batch(
  lock_wait text, users text[], courses text[], catalogue_versions bigint[],
  kept_users text[], kept_files text[], kept_versions bigint[],
  OUT version bigint, OUT database_seconds float8
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
BEGIN
  database_seconds := date_part('epoch', clock_timestamp());
  PERFORM lock_batch(lock_wait, users, courses);
  -- OFFSET 0 keeps the planner from turning the look-ups into joins.
  PERFORM FROM unnest(courses, catalogue_versions) AS b (id, version)
    LEFT JOIN LATERAL (SELECT c.catalogue_version FROM courses AS c WHERE c.id = b.id OFFSET 0) AS c ON true
    WHERE c.catalogue_version IS DISTINCT FROM b.version;
  IF FOUND THEN
    RAISE EXCEPTION 'a catalogue of the batch has another version' USING ERRCODE = 'PH002';
  END IF;
  PERFORM FROM unnest(kept_users, kept_files, kept_versions) AS b (user_id, file_id, version)
    LEFT JOIN LATERAL (
      SELECT p.version FROM user_progress AS p WHERE p.user_id = b.user_id AND p.file_id = b.file_id OFFSET 0
    ) AS p ON true
    WHERE p.version IS DISTINCT FROM b.version;
  IF FOUND THEN
    RAISE EXCEPTION 'a row that the batch keeps has another version' USING ERRCODE = 'PH002';
  END IF;
  -- A row that is kept may have been committed by a writer that gave up waiting for the synchronous standby. A transaction
  -- without WAL would not wait for the standby; this message makes COMMIT wait until all earlier WAL is there too.
  IF cardinality(kept_users) > 0 AND current_setting('synchronous_standby_names') <> '' THEN
    PERFORM pg_logical_emit_message(true, 'playhead', ''::text);
  END IF;
  version := nextval('progress_version');
  PERFORM set_config('playhead.version', version::text, true);
END $$;
COMMENT ON FUNCTION begin_batch IS 'The first statement of a batch of heartbeats: takes its locks, checks what it was decided by, and draws its version.';
