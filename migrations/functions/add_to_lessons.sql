-- Sums that exist are updated. Where a row of user_progress is new, its sum may be new too, and is upserted.
CREATE OR REPLACE FUNCTION add_to_lessons(
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
COMMENT ON FUNCTION add_to_lessons IS 'Adds the deltas of a batch to lesson_progress, for write_beats.';
