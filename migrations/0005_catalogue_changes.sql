-- Up Migration

CREATE FUNCTION apply_catalogue(course text) RETURNS void LANGUAGE plpgsql AS $$
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
  UPDATE courses AS c SET total_files = totals.files, total_ms = totals.ms
  FROM (SELECT count(*) AS files, coalesce(sum(duration_ms), 0) AS ms FROM files WHERE course_id = course AND counted) AS totals
  WHERE c.id = course AND (c.total_files, c.total_ms) IS DISTINCT FROM (totals.files, totals.ms);

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
COMMENT ON FUNCTION apply_catalogue IS 'Brings everything that is derived from a course''s tree in line with it. The caller holds the course''s lock.';

CREATE FUNCTION apply_changed_catalogue() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  writer text := coalesce(current_setting('playhead.writer', true), '');
  course text;
BEGIN
  FOR course IN EXECUTE format('SELECT DISTINCT %I FROM changed_rows ORDER BY 1', TG_ARGV[0]) LOOP
    PERFORM apply_catalogue(course);
  END LOOP;
  PERFORM set_config('playhead.writer', writer, true);
  RETURN NULL;
END $$;

-- A catalogue change of our own applies once, at its end, and says so in playhead.catalogue.
CREATE TRIGGER apply_insert AFTER INSERT ON courses REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('id');
CREATE TRIGGER apply_update AFTER UPDATE ON courses REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('id');
CREATE TRIGGER apply_delete AFTER DELETE ON courses REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('id');
CREATE TRIGGER apply_insert AFTER INSERT ON lessons REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('course_id');
CREATE TRIGGER apply_update AFTER UPDATE ON lessons REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('course_id');
CREATE TRIGGER apply_delete AFTER DELETE ON lessons REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('course_id');
CREATE TRIGGER apply_insert AFTER INSERT ON files REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('course_id');
CREATE TRIGGER apply_update AFTER UPDATE ON files REFERENCING NEW TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('course_id');
CREATE TRIGGER apply_delete AFTER DELETE ON files REFERENCING OLD TABLE AS changed_rows FOR EACH STATEMENT
  WHEN (coalesce(current_setting('playhead.catalogue', true), '') = '') EXECUTE FUNCTION apply_changed_catalogue('course_id');

-- A file may not change its course: progress, rights and locks all go by it.
CREATE FUNCTION refuse_course_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% % belongs to course %', TG_TABLE_NAME, OLD.id, OLD.course_id
    USING ERRCODE = 'integrity_constraint_violation', HINT = 'Delete it, or name the new one otherwise.';
END $$;
CREATE TRIGGER refuse_course_change BEFORE UPDATE OF course_id ON lessons FOR EACH ROW
  WHEN (OLD.course_id <> NEW.course_id) EXECUTE FUNCTION refuse_course_change();
CREATE TRIGGER refuse_course_change BEFORE UPDATE OF course_id ON files FOR EACH ROW
  WHEN (OLD.course_id <> NEW.course_id) EXECUTE FUNCTION refuse_course_change();

-- The recount: what the aggregates should be, from user_progress and the catalogue alone.
CREATE FUNCTION recount_lessons(course text) RETURNS TABLE (
  user_id text, lesson_id text, course_id text, total_files integer, total_ms bigint,
  started_files integer, completed_files integer, contribution_ms bigint, watched_ms bigint
) LANGUAGE sql STABLE AS $$
  WITH counting AS (
    SELECT f.id, f.lesson_id, f.duration_ms, f.required AND f.retired_at IS NULL AND l.retired_at IS NULL AS counted
    FROM files AS f JOIN lessons AS l ON l.id = f.lesson_id WHERE f.course_id = course
  ), totals AS (
    SELECT c.lesson_id, (count(*) FILTER (WHERE c.counted))::integer AS files,
      coalesce(sum(c.duration_ms) FILTER (WHERE c.counted), 0)::bigint AS ms
    FROM counting AS c GROUP BY c.lesson_id
  )
  SELECT p.user_id, c.lesson_id, course, t.files, t.ms, count(*)::integer,
    (count(*) FILTER (WHERE p.completed AND c.counted))::integer,
    coalesce(sum(CASE
      WHEN c.duration_ms IS NULL THEN 0
      WHEN p.completed THEN c.duration_ms
      ELSE least(greatest(multirange_ms(p.watched), c.duration_ms::bigint * p.reported_bp / 10000), c.duration_ms::bigint * 999 / 1000)
    END) FILTER (WHERE c.counted), 0)::bigint,
    coalesce(sum(multirange_ms(p.watched)) FILTER (WHERE c.counted), 0)::bigint
  FROM user_progress AS p JOIN counting AS c ON c.id = p.file_id JOIN totals AS t ON t.lesson_id = c.lesson_id
  GROUP BY p.user_id, c.lesson_id, t.files, t.ms
$$;

CREATE FUNCTION recount_course(course text) RETURNS TABLE (
  user_id text, course_id text, total_files integer, total_ms bigint,
  started_files integer, completed_files integer, contribution_ms bigint, watched_ms bigint
) LANGUAGE sql STABLE AS $$
  SELECT r.user_id, course, t.files, t.ms, sum(r.started_files)::integer, sum(r.completed_files)::integer,
    sum(r.contribution_ms)::bigint, sum(r.watched_ms)::bigint
  FROM recount_lessons(course) AS r CROSS JOIN (
    SELECT count(*)::integer AS files, coalesce(sum(f.duration_ms), 0)::bigint AS ms
    FROM files AS f JOIN lessons AS l ON l.id = f.lesson_id
    WHERE f.course_id = course AND f.required AND f.retired_at IS NULL AND l.retired_at IS NULL
  ) AS t
  GROUP BY r.user_id, t.files, t.ms
$$;

CREATE FUNCTION playhead_check_course(course_id text)
RETURNS TABLE (kind text, user_id text, id text, problem text) LANGUAGE sql STABLE AS $$
  SELECT 'file', p.user_id, p.file_id, format('watched_ms is %s, its ranges are %s long', p.watched_ms, multirange_ms(p.watched))
  FROM user_progress AS p WHERE p.course_id = $1 AND p.watched_ms <> multirange_ms(p.watched)
  UNION ALL
  SELECT 'lesson', coalesce(l.user_id, r.user_id), coalesce(l.lesson_id, r.lesson_id),
    CASE WHEN l.user_id IS NULL THEN 'is missing' WHEN r.user_id IS NULL THEN 'has no progress behind it'
      ELSE format('is %s, a recount gives %s',
        row(l.total_files, l.total_ms, l.started_files, l.completed_files, l.contribution_ms, l.watched_ms),
        row(r.total_files, r.total_ms, r.started_files, r.completed_files, r.contribution_ms, r.watched_ms)) END
  FROM (SELECT * FROM lesson_progress AS s WHERE s.course_id = $1) AS l
  FULL JOIN recount_lessons($1) AS r ON r.user_id = l.user_id AND r.lesson_id = l.lesson_id
  WHERE (l.total_files, l.total_ms, l.started_files, l.completed_files, l.contribution_ms, l.watched_ms)
    IS DISTINCT FROM (r.total_files, r.total_ms, r.started_files, r.completed_files, r.contribution_ms, r.watched_ms)
  UNION ALL
  SELECT 'course', coalesce(c.user_id, r.user_id), $1,
    CASE WHEN c.user_id IS NULL THEN 'is missing' WHEN r.user_id IS NULL THEN 'has no progress behind it'
      ELSE format('is %s, a recount gives %s',
        row(c.total_files, c.total_ms, c.started_files, c.completed_files, c.contribution_ms, c.watched_ms),
        row(r.total_files, r.total_ms, r.started_files, r.completed_files, r.contribution_ms, r.watched_ms)) END
  FROM (SELECT * FROM course_progress AS s WHERE s.course_id = $1) AS c
  FULL JOIN recount_course($1) AS r ON r.user_id = c.user_id
  WHERE (c.total_files, c.total_ms, c.started_files, c.completed_files, c.contribution_ms, c.watched_ms)
    IS DISTINCT FROM (r.total_files, r.total_ms, r.started_files, r.completed_files, r.contribution_ms, r.watched_ms)
$$;
COMMENT ON FUNCTION playhead_check_course IS 'Where the stored aggregates of a course differ from a recount: no row is right.';

CREATE FUNCTION playhead_repair_course(course_id text) RETURNS bigint LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  wrong bigint;
BEGIN
  PERFORM lock_catalogue($1);
  SELECT count(*) INTO wrong FROM playhead_check_course($1);
  PERFORM apply_catalogue($1);
  UPDATE user_progress AS p SET watched = p.watched WHERE p.course_id = $1 AND p.watched_ms <> multirange_ms(p.watched);
  INSERT INTO lesson_progress AS l (user_id, lesson_id, course_id, total_files, total_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT r.*, clock_timestamp() FROM recount_lessons($1) AS r
  ON CONFLICT (user_id, lesson_id) DO UPDATE SET
    total_files = excluded.total_files, total_ms = excluded.total_ms, started_files = excluded.started_files,
    completed_files = excluded.completed_files, contribution_ms = excluded.contribution_ms,
    watched_ms = excluded.watched_ms, version = nextval('progress_version'), last_updated = excluded.last_updated
  WHERE (l.total_files, l.total_ms, l.started_files, l.completed_files, l.contribution_ms, l.watched_ms) IS DISTINCT FROM
    (excluded.total_files, excluded.total_ms, excluded.started_files, excluded.completed_files, excluded.contribution_ms, excluded.watched_ms);
  DELETE FROM lesson_progress AS l WHERE l.course_id = $1 AND NOT EXISTS (
    SELECT FROM user_progress AS p WHERE p.user_id = l.user_id AND p.lesson_id = l.lesson_id);
  INSERT INTO course_progress AS c (user_id, course_id, total_files, total_ms,
    started_files, completed_files, contribution_ms, watched_ms, last_updated)
  SELECT r.*, clock_timestamp() FROM recount_course($1) AS r
  ON CONFLICT (user_id, course_id) DO UPDATE SET
    total_files = excluded.total_files, total_ms = excluded.total_ms, started_files = excluded.started_files,
    completed_files = excluded.completed_files, contribution_ms = excluded.contribution_ms,
    watched_ms = excluded.watched_ms, version = nextval('progress_version'), last_updated = excluded.last_updated
  WHERE (c.total_files, c.total_ms, c.started_files, c.completed_files, c.contribution_ms, c.watched_ms) IS DISTINCT FROM
    (excluded.total_files, excluded.total_ms, excluded.started_files, excluded.completed_files, excluded.contribution_ms, excluded.watched_ms);
  DELETE FROM course_progress AS c WHERE c.course_id = $1 AND NOT EXISTS (
    SELECT FROM user_progress AS p WHERE p.user_id = c.user_id AND p.course_id = c.course_id);
  RETURN wrong;
END $$;
COMMENT ON FUNCTION playhead_repair_course IS 'Recounts a course under its lock and mends what differs; returns how many rows did.';
