-- Sums that exist are updated. Where a row of user_progress is new, its sum may be new too, and is upserted.
CREATE OR REPLACE FUNCTION add_to_courses(
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
COMMENT ON FUNCTION add_to_courses IS 'Adds the deltas of a batch to course_progress, for write_beats.';
