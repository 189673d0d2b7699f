-- The server decides what a heartbeat makes of its row (src/progress/merge-beat.ts); this function checks that the row and the
-- catalogue are still the ones that the server knew, then writes. Rows are found by look-ups of one row each, then by their
-- ctid, whatever the planner believes about the size of a table; OFFSET 0 keeps it from turning a look-up into a join.
-- Errors, after which nothing is written: PH001, the locks are taken; PH002, a row, a sum or the catalogue has changed.
CREATE OR REPLACE FUNCTION write_beats(
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
COMMENT ON FUNCTION write_beats IS 'Writes a batch of heartbeats in one call: locks, checks, rows, sums and notifications.';
