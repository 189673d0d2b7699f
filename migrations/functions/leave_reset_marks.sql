-- With its course a row leaves the mark of the course, one for all its files. Otherwise it leaves a mark of its own: what the
-- user has not sent yet of other files goes on to count. With its user everything goes, marks too.
CREATE OR REPLACE FUNCTION leave_reset_marks() RETURNS trigger LANGUAGE plpgsql
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  INSERT INTO reset_marks AS m (user_id, course_id, file_id, epoch, reset_at)
  SELECT o.user_id, o.course_id, CASE WHEN c.is_there THEN o.file_id ELSE '' END, max(o.epoch) + 1, clock_timestamp()
  FROM old_rows AS o
  CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM courses AS c WHERE c.id = o.course_id) AS is_there OFFSET 0) AS c
  WHERE EXISTS (SELECT FROM users AS u WHERE u.id = o.user_id OFFSET 0)
  GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
  ON CONFLICT (user_id, course_id, file_id) DO UPDATE SET
    epoch = excluded.epoch, reset_at = excluded.reset_at, version = nextval('progress_version')
  WHERE m.epoch < excluded.epoch;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION leave_reset_marks IS 'Leaves a mark where a row of user_progress is deleted: made again, it begins past the epoch that it had.';

CREATE OR REPLACE TRIGGER leave_reset_marks AFTER DELETE ON user_progress REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION leave_reset_marks();
