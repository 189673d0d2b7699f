-- Up Migration

-- A batch of heartbeats by one call. What a heartbeat makes of its row is decided in the process (progress/merge-beat.ts),
-- from the row as it was read before, or written last; here is checked that it still is that row, and of that catalogue.
-- So PostgreSQL interprets little: it finds rows, writes what it is given, adds deltas, and notifies.

ALTER TABLE courses ADD COLUMN catalogue_version bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN courses.catalogue_version IS 'Another one whenever apply_catalogue has run: what a process remembers of the course''s files is good for as long as it stays.';

-- A plan made while there are few courses may take any index that has the id for a look-up of one course, and reads all of
-- this one when there are many.
DROP INDEX courses_instructor;
CREATE INDEX courses_instructor ON courses (instructor_id);

CREATE OR REPLACE FUNCTION apply_catalogue(course text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM pg_notify('catalogue', course), pg_notify('progress', json_build_object('again', course)::text);
  -- While a course is deleted, its lessons and files go one after another, and its aggregates may be gone before them.
  IF NOT EXISTS (SELECT FROM courses WHERE id = course) THEN
    RETURN;
  END IF;
  PERFORM set_config('playhead.catalogue', 'applying', true);
  UPDATE files AS f SET counted = facts.counted, complete_at_ms = facts.complete_at_ms
  FROM (
    SELECT f.id, f.required AND f.retired_at IS NULL AND l.retired_at IS NULL AS counted,
      CASE WHEN f.duration_ms IS NOT NULL THEN
        ceil(coalesce(f.completion_threshold, c.completion_threshold, 0.90)
          * greatest(coalesce(f.credits_at_ms, f.duration_ms) - coalesce(f.start_ms, 0), 1))::integer
      END AS complete_at_ms
    FROM files AS f JOIN lessons AS l ON l.id = f.lesson_id JOIN courses AS c ON c.id = f.course_id
    WHERE f.course_id = course
  ) AS facts
  WHERE f.id = facts.id
    AND (f.counted, f.complete_at_ms) IS DISTINCT FROM (facts.counted, facts.complete_at_ms);

  UPDATE lessons AS l SET total_files = totals.files, total_ms = totals.ms
  FROM (
    SELECT l.id, count(f.id) AS files, coalesce(sum(f.duration_ms), 0) AS ms
    FROM lessons AS l LEFT JOIN files AS f ON f.lesson_id = l.id AND f.counted
    WHERE l.course_id = course GROUP BY l.id
  ) AS totals
  WHERE l.id = totals.id AND (l.total_files, l.total_ms) IS DISTINCT FROM (totals.files, totals.ms);
  UPDATE courses AS c SET total_files = totals.files, total_ms = totals.ms, catalogue_version = nextval('progress_version')
  FROM (SELECT count(*) AS files, coalesce(sum(duration_ms), 0) AS ms FROM files WHERE course_id = course AND counted) AS totals
  WHERE c.id = course;

  -- The row trigger copies what the catalogue says now, and completes what has reached its threshold.
  PERFORM set_config('playhead.writer', 'operation', true);
  UPDATE user_progress AS p SET duration_ms = f.duration_ms
  FROM files AS f JOIN lessons AS l ON l.id = f.lesson_id
  WHERE f.course_id = course AND p.file_id = f.id
    AND ((p.lesson_id, p.duration_ms, p.counted) IS DISTINCT FROM (f.lesson_id, f.duration_ms, f.counted)
      OR (NOT p.completed AND p.watched_ms >= f.complete_at_ms));

  UPDATE lesson_progress AS l SET total_files = t.total_files, total_ms = t.total_ms,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM lessons AS t
  WHERE t.course_id = course AND l.lesson_id = t.id AND (l.total_files, l.total_ms) IS DISTINCT FROM (t.total_files, t.total_ms);
  UPDATE course_progress AS c SET total_files = t.total_files, total_ms = t.total_ms,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM courses AS t
  WHERE t.id = course AND c.course_id = t.id AND (c.total_files, c.total_ms) IS DISTINCT FROM (t.total_files, t.total_ms);

  PERFORM set_config('playhead.catalogue', '', true);
END $$;

-- A key has four ids of 128 characters, each up to 6 octets as JSON, and a version: under 3,200. So chunks are shorter now.
CREATE OR REPLACE FUNCTION notify_changes(keys text[], courses text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(keys) <= 2000 THEN
    PERFORM pg_notify('progress', '{"keys":[' || string_agg(key, ',') || ']}')
      FROM (SELECT key, sum(octet_length(key) + 1) OVER (ROWS UNBOUNDED PRECEDING) / 4700 AS chunk
            FROM unnest(keys) AS key) AS chunked
      GROUP BY chunk;
  ELSE
    PERFORM pg_notify('progress', json_build_object('again', course)::text) FROM unnest(courses) AS course;
  END IF;
END $$;

-- The writer 'beats' computes every column, the sums and the notifications itself; 'batch' all but sums and notifications.
CREATE OR REPLACE TRIGGER roll_up_insert AFTER INSERT ON user_progress REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT WHEN (coalesce(current_setting('playhead.writer', true), '') <> 'beats') EXECUTE FUNCTION roll_up_insert();
CREATE OR REPLACE TRIGGER roll_up_update AFTER UPDATE ON user_progress REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT WHEN (coalesce(current_setting('playhead.writer', true), '') <> 'beats') EXECUTE FUNCTION roll_up_update();
CREATE OR REPLACE TRIGGER complete_row_insert BEFORE INSERT ON user_progress FOR EACH ROW
  WHEN (coalesce(current_setting('playhead.writer', true), '') NOT IN ('batch', 'beats')) EXECUTE FUNCTION complete_row();
-- A batch gives every row it updates another base_version, and nobody else does: cheaper to see than a setting.
CREATE OR REPLACE TRIGGER complete_row_update BEFORE UPDATE ON user_progress FOR EACH ROW
  WHEN (NEW.base_version IS NOT DISTINCT FROM OLD.base_version AND coalesce(current_setting('playhead.writer', true), '') <> 'batch')
  EXECUTE FUNCTION complete_row();

-- What a batch that is not remembered is decided by. Functions, because their plans are made under settings of their own:
-- look-ups by index only, however small the tables are when a connection plans them.
CREATE FUNCTION look_up_rows(user_ids text[], file_ids text[]) RETURNS TABLE (
  ord bigint, id bigint, version bigint, lesson_id text, position_ms integer, watched int4multirange, watched_ms integer,
  watch_time_ms bigint, reported_bp integer, completed boolean, completion_source text, epoch integer, reset_at float8,
  last_watched float8, position_session text, position_seq bigint, writer_session text, writer_seq bigint, beat_at float8,
  duration_ms integer, counted boolean, contribution_ms integer
) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT b.ord, p.id, p.version, p.lesson_id, p.position_ms, p.watched, p.watched_ms, p.watch_time_ms, p.reported_bp, p.completed,
    p.completion_source, p.epoch, date_part('epoch', p.reset_at), date_part('epoch', p.last_watched),
    p.position_session COLLATE "default", p.position_seq, p.writer_session COLLATE "default", p.writer_seq,
    date_part('epoch', p.beat_at), p.duration_ms, p.counted, p.contribution_ms
  FROM unnest(user_ids, file_ids) WITH ORDINALITY AS b (user_id, file_id, ord)
  CROSS JOIN LATERAL (SELECT * FROM user_progress AS p WHERE p.user_id = b.user_id AND p.file_id = b.file_id OFFSET 0) AS p;
END $$;
COMMENT ON FUNCTION look_up_rows IS 'Rows by their keys, each with the place of its key. Times are seconds since 1970.';

CREATE FUNCTION look_up_files(file_ids text[]) RETURNS TABLE (
  id text, lesson_id text, course_id text, duration_ms integer, counted boolean, complete_at_ms integer, end_ms integer,
  catalogue_version bigint
) LANGUAGE plpgsql STABLE
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT f.id, f.lesson_id, f.course_id, f.duration_ms, f.counted, f.complete_at_ms, coalesce(f.credits_at_ms, f.duration_ms),
    c.catalogue_version
  FROM unnest(file_ids) AS b (id)
  CROSS JOIN LATERAL (SELECT * FROM files AS f WHERE f.id = b.id OFFSET 0) AS f
  CROSS JOIN LATERAL (SELECT c.catalogue_version FROM courses AS c WHERE c.id = f.course_id OFFSET 0) AS c;
END $$;

-- Rows are found by LATERAL look-ups of one row each and then by their ctid: whatever the planner believes of the size of
-- a table, it has no other way. OFFSET 0 keeps it from pulling a look-up up into a join. A row that somebody changed
-- between look-up and write is either written as it is then, or not at all, and then the counts differ.
--
-- Errors: PH001, somebody holds the locks; PH002, a row, a sum or the catalogue is not what the batch was decided by. After
-- either nothing is written.
CREATE FUNCTION write_beats(
  lock_wait text, users_of_batch text[], courses_of_batch text[], catalogue_versions bigint[],
  -- Rows that only went on: the same sessions, nothing completed, at most one range more. `seen` is null where the position stays.
  moved_ids bigint[], moved_bases bigint[], moved_positions integer[], moved_from integer[], moved_to integer[],
  moved_watched_ms integer[], moved_watch_times bigint[], moved_seen float8[], moved_position_seqs bigint[], moved_writer_seqs bigint[],
  -- Rows that stay as they are, because of what is in them.
  kept_ids bigint[], kept_bases bigint[],
  -- All other rows; those that are new have no id, and come first.
  row_ids bigint[], row_bases bigint[], row_users text[], row_files text[], row_lessons text[], row_courses text[],
  row_positions integer[], row_watched int4multirange[], row_watched_ms integer[], row_watch_times bigint[], row_reported integer[],
  row_completed boolean[], row_sources text[], row_seen float8[], row_position_sessions text[], row_position_seqs bigint[],
  row_writer_sessions text[], row_writer_seqs bigint[], row_durations integer[], row_counted boolean[],
  -- Deltas, one a user and lesson, one a user and course; the latter null where they are the same, and `lesson_users` where
  -- they are `users_of_batch`. `every_sum_upserted` is for a second try, which also makes up for sums that are missing.
  lesson_users text[], lesson_ids text[], lesson_courses text[], lesson_started integer[], lesson_completed integer[],
  lesson_contributions bigint[], lesson_watched bigint[],
  course_users text[], course_ids text[], course_started integer[], course_completed integer[],
  course_contributions bigint[], course_watched bigint[],
  every_sum_upserted boolean,
  -- Of the channel `progress`; U+0001 stands for the version.
  notifications text[], activity jsonb,
  OUT new_version bigint, OUT new_ids bigint[], OUT database_clock float8
) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  now_at timestamptz;
  expected bigint;
  written bigint;
BEGIN
  database_clock := date_part('epoch', clock_timestamp());
  PERFORM set_config('lock_timeout', lock_wait, true);
  BEGIN
    PERFORM lock_writers('beats', users_of_batch, courses_of_batch);
  EXCEPTION WHEN lock_not_available THEN
    RAISE EXCEPTION 'the locks of the batch are taken' USING ERRCODE = 'PH001';
  END;
  SELECT count(*) INTO written
  FROM unnest(courses_of_batch, catalogue_versions) AS b (id, version)
  CROSS JOIN LATERAL (SELECT FROM courses AS c WHERE c.id = b.id AND c.catalogue_version = b.version OFFSET 0) AS c;
  IF written <> cardinality(courses_of_batch) THEN
    RAISE EXCEPTION 'the catalogue changed' USING ERRCODE = 'PH002';
  END IF;
  -- One version is enough for a batch, which has every key once: it is drawn under the locks of all its users.
  new_version := nextval('progress_version');
  now_at := clock_timestamp();

  IF cardinality(kept_ids) > 0 THEN
    SELECT count(*) INTO written
    FROM unnest(kept_ids, kept_bases) AS b (id, base)
    CROSS JOIN LATERAL (SELECT FROM user_progress AS p WHERE p.id = b.id AND p.version = b.base OFFSET 0) AS p;
    IF written <> cardinality(kept_ids) THEN
      RAISE EXCEPTION 'a row that stays is another' USING ERRCODE = 'PH002';
    END IF;
  END IF;

  IF cardinality(moved_ids) > 0 THEN
    UPDATE user_progress AS t SET
      position_ms = b.position_ms,
      watched = CASE WHEN b.from_ms IS NULL THEN t.watched ELSE t.watched + int4multirange(int4range(b.from_ms, b.to_ms)) END,
      watched_ms = b.watched_ms, watch_time_ms = b.watch_time_ms,
      last_watched = CASE WHEN b.seen IS NULL THEN t.last_watched ELSE to_timestamp(b.seen) END,
      position_seq = b.position_seq, writer_seq = b.writer_seq,
      version = new_version, base_version = b.base, updated_at = now_at, beat_at = now_at
    FROM (
      SELECT b.*, p.tid
      FROM unnest(moved_ids, moved_bases, moved_positions, moved_from, moved_to, moved_watched_ms, moved_watch_times, moved_seen,
        moved_position_seqs, moved_writer_seqs)
        AS b (id, base, position_ms, from_ms, to_ms, watched_ms, watch_time_ms, seen, position_seq, writer_seq)
      CROSS JOIN LATERAL (SELECT p.ctid AS tid FROM user_progress AS p WHERE p.id = b.id OFFSET 0) AS p
      OFFSET 0
    ) AS b
    WHERE t.ctid = b.tid AND t.version = b.base;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> cardinality(moved_ids) THEN
      RAISE EXCEPTION 'a row that went on is another' USING ERRCODE = 'PH002';
    END IF;
  END IF;

  IF cardinality(row_ids) > 0 THEN
    expected := cardinality(row_ids) - cardinality(array_remove(row_ids, NULL));
    IF expected > 0 THEN
      new_ids := ARRAY(SELECT nextval('user_progress_id_seq') FROM generate_series(1, expected));
      INSERT INTO users (id) SELECT DISTINCT u.id FROM unnest(row_users[1:expected]) AS u (id) ORDER BY 1 ON CONFLICT DO NOTHING;
      INSERT INTO user_progress AS t (id, user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms, watch_time_ms,
        reported_bp, completed, completion_source, last_watched, position_session, position_seq, writer_session, writer_seq,
        duration_ms, counted, version, updated_at, beat_at)
      SELECT b.new_id, b.user_id, b.file_id, b.lesson_id, b.course_id, b.position_ms, b.watched, b.watched_ms, b.watch_time_ms,
        b.reported_bp, b.completed, b.completion_source, to_timestamp(b.seen), b.position_session, b.position_seq, b.writer_session,
        b.writer_seq, b.duration_ms, b.counted, new_version, now_at, now_at
      FROM unnest(new_ids, row_users, row_files, row_lessons, row_courses, row_positions, row_watched, row_watched_ms,
        row_watch_times, row_reported, row_completed, row_sources, row_seen, row_position_sessions, row_position_seqs,
        row_writer_sessions, row_writer_seqs, row_durations, row_counted)
        AS b (new_id, user_id, file_id, lesson_id, course_id, position_ms, watched, watched_ms, watch_time_ms, reported_bp,
          completed, completion_source, seen, position_session, position_seq, writer_session, writer_seq, duration_ms, counted)
      WHERE b.new_id IS NOT NULL
      ON CONFLICT (user_id, file_id) DO NOTHING;
      GET DIAGNOSTICS written = ROW_COUNT;
      IF written <> expected THEN
        RAISE EXCEPTION 'a row that is new is there already' USING ERRCODE = 'PH002';
      END IF;
    END IF;
    IF expected < cardinality(row_ids) THEN
      UPDATE user_progress AS t SET
        lesson_id = b.lesson_id, position_ms = b.position_ms, watched = b.watched, watched_ms = b.watched_ms,
        watch_time_ms = b.watch_time_ms, reported_bp = b.reported_bp, completed = b.completed,
        completion_source = b.completion_source,
        last_watched = CASE WHEN b.seen IS NULL THEN t.last_watched ELSE to_timestamp(b.seen) END,
        position_session = b.position_session, position_seq = b.position_seq, writer_session = b.writer_session,
        writer_seq = b.writer_seq, duration_ms = b.duration_ms, counted = b.counted,
        version = new_version, base_version = b.base, updated_at = now_at, beat_at = now_at
      FROM (
        SELECT b.*, p.tid
        FROM unnest(row_ids, row_bases, row_lessons, row_positions, row_watched, row_watched_ms, row_watch_times, row_reported,
          row_completed, row_sources, row_seen, row_position_sessions, row_position_seqs, row_writer_sessions, row_writer_seqs,
          row_durations, row_counted)
          AS b (id, base, lesson_id, position_ms, watched, watched_ms, watch_time_ms, reported_bp, completed, completion_source,
            seen, position_session, position_seq, writer_session, writer_seq, duration_ms, counted)
        CROSS JOIN LATERAL (SELECT p.ctid AS tid FROM user_progress AS p WHERE p.id = b.id OFFSET 0) AS p
        OFFSET 0
      ) AS b
      WHERE t.ctid = b.tid AND t.version = b.base;
      GET DIAGNOSTICS written = ROW_COUNT;
      IF written <> cardinality(row_ids) - expected THEN
        RAISE EXCEPTION 'a row that changed is another' USING ERRCODE = 'PH002';
      END IF;
    END IF;
  END IF;

  IF cardinality(lesson_ids) > 0 THEN
    lesson_users := coalesce(lesson_users, users_of_batch);
    PERFORM add_to_lessons(new_version, now_at, lesson_users, lesson_ids, lesson_courses, lesson_started, lesson_completed,
      lesson_contributions, lesson_watched, every_sum_upserted);
    IF course_ids IS NULL THEN
      PERFORM add_to_courses(new_version, now_at, lesson_users, lesson_courses, lesson_started, lesson_completed,
        lesson_contributions, lesson_watched, every_sum_upserted);
    ELSE
      PERFORM add_to_courses(new_version, now_at, course_users, course_ids, course_started, course_completed,
        course_contributions, course_watched, every_sum_upserted);
    END IF;
  END IF;
  PERFORM pg_notify('progress', replace(payload, E'\x01', new_version::text)) FROM unnest(notifications) AS payload;
  IF activity IS NOT NULL THEN
    PERFORM log_activity(activity);
  END IF;
END $$;
COMMENT ON FUNCTION write_beats IS 'Makes a batch of heartbeats durable: checks, locks, rows, sums and notifications in one call.';

-- Most sums are there: they are updated. Where a row of user_progress is new its sums may be new too, and are upserted.
-- A sum that somebody writes by hand meanwhile may have a version later than that of the batch.
CREATE FUNCTION add_to_lessons(
  new_version bigint, now_at timestamptz, users text[], lessons text[], courses text[], started integer[], completed integer[],
  contributions bigint[], watched bigint[], upsert_all boolean
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  expected bigint := CASE WHEN upsert_all THEN 0 ELSE cardinality(array_positions(started, 0)) END;
  written bigint;
BEGIN
  IF expected > 0 THEN
    UPDATE lesson_progress AS l SET
      completed_files = l.completed_files + d.completed, contribution_ms = l.contribution_ms + d.contribution,
      watched_ms = l.watched_ms + d.watched, last_updated = now_at,
      version = CASE WHEN l.version < new_version THEN new_version ELSE nextval('progress_version') END
    FROM (
      SELECT d.completed, d.contribution, d.watched, l.tid
      FROM unnest(users, lessons, started, completed, contributions, watched)
        AS d (user_id, lesson_id, started, completed, contribution, watched)
      CROSS JOIN LATERAL (
        SELECT l.ctid AS tid FROM lesson_progress AS l WHERE l.user_id = d.user_id AND l.lesson_id = d.lesson_id OFFSET 0
      ) AS l
      WHERE d.started = 0
      OFFSET 0
    ) AS d
    WHERE l.ctid = d.tid;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> expected THEN
      RAISE EXCEPTION 'the sum of a lesson is another, or missing' USING ERRCODE = 'PH002';
    END IF;
  END IF;
  IF expected < cardinality(lessons) THEN
    INSERT INTO lesson_progress AS l (user_id, lesson_id, course_id, total_files, total_ms,
      started_files, completed_files, contribution_ms, watched_ms, version, last_updated)
    SELECT d.user_id, d.lesson_id, d.course_id, t.total_files, t.total_ms,
      d.started, d.completed, d.contribution, d.watched, new_version, now_at
    FROM unnest(users, lessons, courses, started, completed, contributions, watched)
      AS d (user_id, lesson_id, course_id, started, completed, contribution, watched)
    CROSS JOIN LATERAL (SELECT t.total_files, t.total_ms FROM lessons AS t WHERE t.id = d.lesson_id OFFSET 0) AS t
    WHERE upsert_all OR d.started <> 0
    ON CONFLICT (user_id, lesson_id) DO UPDATE SET
      started_files = l.started_files + excluded.started_files,
      completed_files = l.completed_files + excluded.completed_files,
      contribution_ms = l.contribution_ms + excluded.contribution_ms,
      watched_ms = l.watched_ms + excluded.watched_ms, last_updated = excluded.last_updated,
      version = CASE WHEN l.version < excluded.version THEN excluded.version ELSE nextval('progress_version') END;
    DELETE FROM lesson_progress AS l USING (
      SELECT l.tid FROM unnest(users, lessons, started) AS d (user_id, lesson_id, started)
      CROSS JOIN LATERAL (
        SELECT l.ctid AS tid FROM lesson_progress AS l WHERE l.user_id = d.user_id AND l.lesson_id = d.lesson_id OFFSET 0
      ) AS l
      WHERE d.started < 0
      OFFSET 0
    ) AS d WHERE l.ctid = d.tid AND l.started_files = 0;
  END IF;
END $$;

CREATE FUNCTION add_to_courses(
  new_version bigint, now_at timestamptz, users text[], courses text[], started integer[], completed integer[],
  contributions bigint[], watched bigint[], upsert_all boolean
) RETURNS void LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  expected bigint := CASE WHEN upsert_all THEN 0 ELSE cardinality(array_positions(started, 0)) END;
  written bigint;
BEGIN
  IF expected > 0 THEN
    UPDATE course_progress AS c SET
      completed_files = c.completed_files + d.completed, contribution_ms = c.contribution_ms + d.contribution,
      watched_ms = c.watched_ms + d.watched, last_updated = now_at,
      version = CASE WHEN c.version < new_version THEN new_version ELSE nextval('progress_version') END
    FROM (
      SELECT d.completed, d.contribution, d.watched, c.tid
      FROM unnest(users, courses, started, completed, contributions, watched)
        AS d (user_id, course_id, started, completed, contribution, watched)
      CROSS JOIN LATERAL (
        SELECT c.ctid AS tid FROM course_progress AS c WHERE c.user_id = d.user_id AND c.course_id = d.course_id OFFSET 0
      ) AS c
      WHERE d.started = 0
      OFFSET 0
    ) AS d
    WHERE c.ctid = d.tid;
    GET DIAGNOSTICS written = ROW_COUNT;
    IF written <> expected THEN
      RAISE EXCEPTION 'the sum of a course is another, or missing' USING ERRCODE = 'PH002';
    END IF;
  END IF;
  IF expected < cardinality(courses) THEN
    INSERT INTO course_progress AS c (user_id, course_id, total_files, total_ms,
      started_files, completed_files, contribution_ms, watched_ms, version, last_updated)
    SELECT d.user_id, d.course_id, t.total_files, t.total_ms,
      d.started, d.completed, d.contribution, d.watched, new_version, now_at
    FROM unnest(users, courses, started, completed, contributions, watched)
      AS d (user_id, course_id, started, completed, contribution, watched)
    CROSS JOIN LATERAL (SELECT t.total_files, t.total_ms FROM courses AS t WHERE t.id = d.course_id OFFSET 0) AS t
    WHERE upsert_all OR d.started <> 0
    ON CONFLICT (user_id, course_id) DO UPDATE SET
      started_files = c.started_files + excluded.started_files,
      completed_files = c.completed_files + excluded.completed_files,
      contribution_ms = c.contribution_ms + excluded.contribution_ms,
      watched_ms = c.watched_ms + excluded.watched_ms, last_updated = excluded.last_updated,
      version = CASE WHEN c.version < excluded.version THEN excluded.version ELSE nextval('progress_version') END;
  END IF;
END $$;
