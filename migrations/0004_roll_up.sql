-- Up Migration

-- Lesson and course progress follow user_progress by deltas: new rows add, old rows subtract. The two transition
-- tables are never joined with each other: the planner has no statistics for them and picks a nested loop.

-- A NOTIFY's payload must stay below 8,000 octets, or the whole batch rolls back. A key is at most three ids of 128
-- characters, each up to 6 octets as JSON, and a version: under 2,400. Keys are put into the chunk in which they end,
-- so a chunk holds at most 5,500 octets and one key more.
CREATE FUNCTION notify_changes(keys text[], courses text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(keys) <= 2000 THEN
    PERFORM pg_notify('progress', '{"keys":[' || string_agg(key, ',') || ']}')
      FROM (SELECT key, sum(octet_length(key) + 1) OVER (ROWS UNBOUNDED PRECEDING) / 5500 AS chunk
            FROM unnest(keys) AS key) AS chunked
      GROUP BY chunk;
  ELSE
    PERFORM pg_notify('progress', json_build_object('again', course)::text) FROM unnest(courses) AS course;
  END IF;
END $$;
COMMENT ON FUNCTION notify_changes IS 'A few notifications a statement: the changed keys, or past 2,000 of them "read again" for each course.';

CREATE FUNCTION roll_up_insert() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO lesson_progress AS l (user_id, lesson_id, course_id, total_files, total_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT d.user_id, d.lesson_id, d.course_id, (SELECT total_files FROM lessons AS t WHERE t.id = d.lesson_id),
    (SELECT total_ms FROM lessons AS t WHERE t.id = d.lesson_id), d.started, d.completed, d.contribution, d.watched, clock_timestamp()
  FROM (
    SELECT user_id, lesson_id, course_id, count(*) AS started, count(*) FILTER (WHERE completed AND counted) AS completed,
      sum(contribution_ms) AS contribution, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched
    FROM new_rows GROUP BY user_id, lesson_id, course_id ORDER BY user_id, lesson_id
  ) AS d
  ON CONFLICT (user_id, lesson_id) DO UPDATE SET
    started_files = l.started_files + excluded.started_files,
    completed_files = l.completed_files + excluded.completed_files,
    contribution_ms = l.contribution_ms + excluded.contribution_ms,
    watched_ms = l.watched_ms + excluded.watched_ms,
    version = nextval('progress_version'), last_updated = excluded.last_updated;

  INSERT INTO course_progress AS c (user_id, course_id, total_files, total_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT d.user_id, d.course_id, (SELECT total_files FROM courses AS t WHERE t.id = d.course_id),
    (SELECT total_ms FROM courses AS t WHERE t.id = d.course_id), d.started, d.completed, d.contribution, d.watched, clock_timestamp()
  FROM (
    SELECT user_id, course_id, count(*) AS started, count(*) FILTER (WHERE completed AND counted) AS completed,
      sum(contribution_ms) AS contribution, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched
    FROM new_rows GROUP BY user_id, course_id ORDER BY user_id, course_id
  ) AS d
  ON CONFLICT (user_id, course_id) DO UPDATE SET
    started_files = c.started_files + excluded.started_files,
    completed_files = c.completed_files + excluded.completed_files,
    contribution_ms = c.contribution_ms + excluded.contribution_ms,
    watched_ms = c.watched_ms + excluded.watched_ms,
    version = nextval('progress_version'), last_updated = excluded.last_updated;

  PERFORM notify_changes(
    array_agg(json_build_array(course_id, lesson_id, file_id, user_id, version)::text), array_agg(DISTINCT course_id))
    FROM new_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;

-- Upserts, not UPDATE … FROM: an upsert finds its row by the unique index whatever the planner believes, while the plan of a
-- join is kept for the life of a connection, and one made while the aggregates were few reads them all for every delta.
CREATE FUNCTION roll_up_update() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  moved boolean;
BEGIN
  WITH d AS MATERIALIZED (
    SELECT user_id, lesson_id, course_id, sum(started) AS started, sum(completed) AS completed,
      sum(contribution) AS contribution, sum(watched) AS watched
    FROM (
      SELECT user_id, lesson_id, course_id, 1 AS started, (completed AND counted)::integer AS completed,
        contribution_ms AS contribution, CASE WHEN counted THEN watched_ms ELSE 0 END AS watched FROM new_rows
      UNION ALL
      SELECT user_id, lesson_id, course_id, -1, -(completed AND counted)::integer,
        -contribution_ms, CASE WHEN counted THEN -watched_ms ELSE 0 END FROM old_rows
    ) AS signed_rows
    GROUP BY user_id, lesson_id, course_id
    HAVING sum(started) <> 0 OR sum(completed) <> 0 OR sum(contribution) <> 0 OR sum(watched) <> 0
  ), lesson_deltas AS (
    -- A row is there already, but where a file moved to a lesson that the user had not begun.
    INSERT INTO lesson_progress AS l (id, user_id, lesson_id, course_id, total_files, total_ms,
      started_files, completed_files, contribution_ms, watched_ms, version, last_updated)
    SELECT CASE WHEN started > 0 THEN nextval('lesson_progress_id_seq') ELSE 0 END, user_id, lesson_id, course_id,
      CASE WHEN started > 0 THEN (SELECT total_files FROM lessons AS t WHERE t.id = d.lesson_id) ELSE 0 END,
      CASE WHEN started > 0 THEN (SELECT total_ms FROM lessons AS t WHERE t.id = d.lesson_id) ELSE 0 END,
      started, completed, contribution, watched, CASE WHEN started > 0 THEN nextval('progress_version') ELSE 0 END, clock_timestamp()
    FROM d ORDER BY user_id, lesson_id
    ON CONFLICT (user_id, lesson_id) DO UPDATE SET
      started_files = l.started_files + excluded.started_files,
      completed_files = l.completed_files + excluded.completed_files,
      contribution_ms = l.contribution_ms + excluded.contribution_ms,
      watched_ms = l.watched_ms + excluded.watched_ms,
      version = nextval('progress_version'), last_updated = excluded.last_updated
  ), course_deltas AS (
    INSERT INTO course_progress AS c (id, user_id, course_id, total_files, total_ms,
      started_files, completed_files, contribution_ms, watched_ms, version, last_updated)
    SELECT 0, user_id, course_id, 0, 0, sum(started), sum(completed), sum(contribution), sum(watched), 0, clock_timestamp()
    FROM d GROUP BY user_id, course_id
    HAVING sum(started) <> 0 OR sum(completed) <> 0 OR sum(contribution) <> 0 OR sum(watched) <> 0
    ORDER BY user_id, course_id
    ON CONFLICT (user_id, course_id) DO UPDATE SET
      started_files = c.started_files + excluded.started_files,
      completed_files = c.completed_files + excluded.completed_files,
      contribution_ms = c.contribution_ms + excluded.contribution_ms,
      watched_ms = c.watched_ms + excluded.watched_ms,
      version = nextval('progress_version'), last_updated = excluded.last_updated
  )
  SELECT coalesce(bool_or(started < 0), false) INTO moved FROM d;
  IF moved THEN
    DELETE FROM lesson_progress AS l USING (SELECT DISTINCT user_id, lesson_id FROM old_rows) AS o
      WHERE l.user_id = o.user_id AND l.lesson_id = o.lesson_id AND l.started_files = 0;
  END IF;

  PERFORM notify_changes(
    array_agg(json_build_array(course_id, lesson_id, file_id, user_id, version)::text), array_agg(DISTINCT course_id))
    FROM new_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;

CREATE FUNCTION roll_up_delete() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  -- A negative delta only updates: when a course goes, its aggregates may be gone already and must not come back.
  UPDATE lesson_progress AS l SET
    started_files = l.started_files - d.started, completed_files = l.completed_files - d.completed,
    contribution_ms = l.contribution_ms - d.contribution, watched_ms = l.watched_ms - d.watched,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM (
    SELECT user_id, lesson_id, count(*) AS started, count(*) FILTER (WHERE completed AND counted) AS completed,
      sum(contribution_ms) AS contribution, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched
    FROM old_rows GROUP BY user_id, lesson_id
  ) AS d WHERE l.user_id = d.user_id AND l.lesson_id = d.lesson_id;
  UPDATE course_progress AS c SET
    started_files = c.started_files - d.started, completed_files = c.completed_files - d.completed,
    contribution_ms = c.contribution_ms - d.contribution, watched_ms = c.watched_ms - d.watched,
    version = nextval('progress_version'), last_updated = clock_timestamp()
  FROM (
    SELECT user_id, course_id, count(*) AS started, count(*) FILTER (WHERE completed AND counted) AS completed,
      sum(contribution_ms) AS contribution, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched
    FROM old_rows GROUP BY user_id, course_id
  ) AS d WHERE c.user_id = d.user_id AND c.course_id = d.course_id;
  DELETE FROM lesson_progress AS l USING (SELECT DISTINCT user_id, lesson_id FROM old_rows) AS o
    WHERE l.user_id = o.user_id AND l.lesson_id = o.lesson_id AND l.started_files = 0;
  DELETE FROM course_progress AS c USING (SELECT DISTINCT user_id, course_id FROM old_rows) AS o
    WHERE c.user_id = o.user_id AND c.course_id = o.course_id AND c.started_files = 0;

  -- The version of a removal is later than that of anything that was said about the row.
  PERFORM notify_changes(
    array_agg(json_build_array(course_id, lesson_id, file_id, user_id, nextval('progress_version'))::text),
    array_agg(DISTINCT course_id))
    FROM old_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;

CREATE TRIGGER roll_up_insert AFTER INSERT ON user_progress REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION roll_up_insert();
CREATE TRIGGER roll_up_update AFTER UPDATE ON user_progress REFERENCING NEW TABLE AS new_rows OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION roll_up_update();
CREATE TRIGGER roll_up_delete AFTER DELETE ON user_progress REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION roll_up_delete();

-- What a hand-written row leaves open is filled in, by the same rules as a batch follows.
CREATE FUNCTION multirange_ms(ranges int4multirange) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce(sum(upper(r) - lower(r)), 0)::integer FROM unnest(ranges) AS r $$;

CREATE FUNCTION complete_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  file files;
BEGIN
  SELECT * INTO file FROM files WHERE id = NEW.file_id;
  IF FOUND THEN
    NEW.lesson_id := file.lesson_id;
    NEW.course_id := file.course_id;
    NEW.duration_ms := file.duration_ms;
    NEW.counted := file.counted;
  END IF;
  NEW.watched_ms := multirange_ms(NEW.watched);
  -- Completed is level; but whoever clears it by hand means it.
  IF NOT NEW.completed AND NEW.watched_ms >= file.complete_at_ms AND NOT (TG_OP = 'UPDATE' AND OLD.completed) THEN
    NEW.completed := true;
    NEW.completion_source := 'auto';
  END IF;
  NEW.completion_source := CASE WHEN NEW.completed THEN coalesce(NEW.completion_source, 'manual') END;
  IF TG_OP = 'UPDATE' THEN
    NEW.version := nextval('progress_version');
  END IF;
  NEW.updated_at := clock_timestamp();
  RETURN NEW;
END $$;
CREATE TRIGGER complete_row_insert BEFORE INSERT ON user_progress FOR EACH ROW
  WHEN (coalesce(current_setting('playhead.writer', true), '') <> 'batch') EXECUTE FUNCTION complete_row();
CREATE TRIGGER complete_row_update BEFORE UPDATE ON user_progress FOR EACH ROW
  WHEN (coalesce(current_setting('playhead.writer', true), '') <> 'batch') EXECUTE FUNCTION complete_row();
