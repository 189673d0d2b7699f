-- Up Migration

-- Everything that writes progress or the catalogue takes advisory locks first, always in this order:
--   1. the gate of hand-written progress   (class 7701, key 0)
--   2. the gate of hand-written catalogues (class 7701, key 1)
--   3. courses, by hash                    (shared by writers of progress, exclusive by a catalogue change)
--   4. users, by hash                      (exclusive)
-- Sorted rows alone do not prevent deadlocks: ON CONFLICT fires the update trigger, then the insert trigger,
-- so two sorted batches of old and new users lock their aggregates in two passes.
-- The transaction-local setting playhead.writer says who writes: 'batch' computes every column itself,
-- 'operation' holds the locks but leaves derived columns to the row trigger, '' is a stranger (psql, a script).

CREATE FUNCTION user_lock(user_id text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT hashtextextended(user_id, 7704) $$;

CREATE FUNCTION course_lock(course_id text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT hashtextextended(course_id, 7703) $$;

CREATE FUNCTION lock_writers(writer text, user_ids text[], course_ids text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('playhead.writer', writer, true);
  -- Index look-ups only: a plan made while a table is small would scan it later, when it is large.
  PERFORM set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
    set_config('enable_mergejoin', 'off', true), set_config('plan_cache_mode', 'force_generic_plan', true);
  PERFORM pg_advisory_xact_lock_shared(7701, 1);
  PERFORM pg_advisory_xact_lock_shared(key)
    FROM (SELECT DISTINCT course_lock(id) AS key FROM unnest(course_ids) AS id ORDER BY key OFFSET 0) AS courses;
  PERFORM pg_advisory_xact_lock(key)
    FROM (SELECT DISTINCT user_lock(id) AS key FROM unnest(user_ids) AS id ORDER BY key OFFSET 0) AS users;
END $$;
COMMENT ON FUNCTION lock_writers IS 'The first statement of a batch and of an operation on progress.';

CREATE FUNCTION lock_catalogue(course_id text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('playhead.writer', 'operation', true);
  PERFORM pg_advisory_xact_lock(7701, 0);
  PERFORM pg_advisory_xact_lock_shared(7701, 1);
  PERFORM pg_advisory_xact_lock(course_lock(course_id));
END $$;
COMMENT ON FUNCTION lock_catalogue IS 'The first statement of a catalogue change and of a recount: nobody writes progress of the course meanwhile.';

CREATE FUNCTION lock_stranger_progress() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_advisory_xact_lock_shared(7701, 0);
  RETURN NULL;
END $$;

CREATE FUNCTION lock_stranger_catalogue() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- Which course a hand-written statement touches is not known before it has locked its rows, so it waits for all.
  PERFORM pg_advisory_xact_lock(7701, 0);
  PERFORM pg_advisory_xact_lock(7701, 1);
  RETURN NULL;
END $$;

CREATE TRIGGER a_lock_stranger BEFORE INSERT OR UPDATE OR DELETE ON user_progress FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_progress();
CREATE TRIGGER a_lock_stranger BEFORE INSERT OR UPDATE OR DELETE ON courses FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_catalogue();
CREATE TRIGGER a_lock_stranger BEFORE INSERT OR UPDATE OR DELETE ON lessons FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_catalogue();
CREATE TRIGGER a_lock_stranger BEFORE INSERT OR UPDATE OR DELETE ON files FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_catalogue();
CREATE TRIGGER a_lock_stranger BEFORE DELETE ON users FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.writer', true), '') = '') EXECUTE FUNCTION lock_stranger_catalogue();

CREATE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'TRUNCATE % would leave the aggregates wrong', TG_TABLE_NAME
    USING HINT = 'Use DELETE: its triggers keep lesson_progress and course_progress exact.';
END $$;
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON user_progress FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON lesson_progress FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON course_progress FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
