-- Who writes progress or the catalogue takes advisory locks first, always in this order:
--   1. the gate of hand-written progress   (class 7701, key 0)
--   2. the gate of hand-written catalogues (class 7701, key 1)
--   3. courses, by hash  (writers of progress share them; a change of the catalogue takes its course alone)
--   4. users, by hash    (each alone)
-- Sorting the rows of a batch would not prevent deadlocks: ON CONFLICT fires the update trigger, then the insert trigger, so
-- two sorted batches with old and new users would lock their sums in two passes.
--
-- The setting playhead.writer lasts as long as the transaction and says who writes:
--   'batch'      a batch of heartbeats, or a restore: it holds the locks, and computes every column of user_progress
--   'operation'  it holds the locks, and leaves derived columns to triggers
--   ''           a hand-written statement (psql, a script): triggers lock and compute everything
CREATE OR REPLACE FUNCTION lock_writers(writer text, user_ids text[], course_ids text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('playhead.writer', writer, true);
  -- Index look-ups only. PostgreSQL keeps a plan for the life of a connection: one made while a table is small would read the
  -- whole table later, when it is large.
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true);
  PERFORM pg_advisory_xact_lock_shared(7701, 1);
  PERFORM pg_advisory_xact_lock_shared(key)
    FROM (SELECT DISTINCT course_lock(id) AS key FROM unnest(course_ids) AS id ORDER BY key OFFSET 0) AS courses;
  PERFORM pg_advisory_xact_lock(key)
    FROM (SELECT DISTINCT user_lock(id) AS key FROM unnest(user_ids) AS id ORDER BY key OFFSET 0) AS users;
END $$;
COMMENT ON FUNCTION lock_writers IS 'The first statement of every batch and of every operation on progress: takes the locks and names the writer.';
