-- It takes the locks of an operation, so it holds up the user's own heartbeats, and changes of the catalogue of the user's
-- courses. DELETE FROM users by hand would hold up everybody.
CREATE OR REPLACE FUNCTION delete_user(user_id text) RETURNS timestamptz LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  writer text := coalesce(current_setting('playhead.writer', true), '');
  catalogue text := coalesce(current_setting('playhead.catalogue', true), '');
  locked text[] := ARRAY(SELECT course_id FROM user_progress WHERE user_id = $1
    UNION SELECT course_id FROM course_progress WHERE user_id = $1 UNION SELECT id FROM courses WHERE instructor_id = $1);
  hashes bytea[];
  new_epoch integer;
  at timestamptz;
BEGIN
  PERFORM lock_writers('operation', ARRAY[$1], locked);
  IF EXISTS (
    SELECT course_id FROM user_progress WHERE user_id = $1 AND course_id <> ALL (locked)
    UNION ALL SELECT id FROM courses WHERE instructor_id = $1 AND id <> ALL (locked)
  ) THEN
    RAISE EXCEPTION 'the user has begun another course meanwhile' USING ERRCODE = 'serialization_failure';
  END IF;
  INSERT INTO settings (name, value)
    VALUES ('deletion_salts', replace(gen_random_uuid()::text || gen_random_uuid()::text, '-', '')) ON CONFLICT DO NOTHING;
  hashes := ARRAY(SELECT deleted_user_hashes($1));
  SELECT 1 + greatest(
    (SELECT max(epoch) FROM user_progress WHERE user_id = $1), (SELECT max(epoch) FROM reset_marks WHERE user_id = $1), 0)
    INTO new_epoch;
  at := clock_timestamp();
  UPDATE deleted_users SET deleted_at = at, epoch = greatest(epoch, new_epoch), returned_at = NULL, mirrored = false
    WHERE user_hash = ANY (hashes);
  IF NOT FOUND THEN
    INSERT INTO deleted_users (user_hash, deleted_at, epoch) VALUES (hashes[1], at, new_epoch);
  END IF;

  -- Nothing that is derived from a course depends on its instructor.
  PERFORM set_config('playhead.catalogue', 'changing', true);
  PERFORM pg_notify('catalogue', id) FROM courses WHERE instructor_id = $1;
  UPDATE courses SET instructor_id = NULL, updated_at = now() WHERE instructor_id = $1;
  PERFORM set_config('playhead.catalogue', catalogue, true);
  -- Progress, sums, reset marks, streams and their sessions go with it, and so do xAPI statements and what is queued of them.
  DELETE FROM users WHERE id = $1;
  DELETE FROM user_profiles WHERE user_id = $1;
  DELETE FROM user_activity_log WHERE user_id = $1;
  UPDATE user_activity_log SET actor_id = NULL WHERE actor_id = $1;
  -- Its deliveries go with it: what is not sent yet is not sent.
  DELETE FROM webhook_events WHERE data ->> 'userId' = $1;
  -- A full pass of the mirror begins anew, rather than keep the place by this user.
  UPDATE mirror SET pass_user = '', pass_file = '' WHERE pass_user = $1;
  -- The last notification of the transaction: who hears it has heard of the rows before.
  PERFORM pg_notify('deleted_users', json_build_object('userId', $1, 'deletedAt', extract(epoch FROM at) * 1000)::text);
  PERFORM set_config('playhead.writer', writer, true);
  RETURN at;
END $$;
COMMENT ON FUNCTION delete_user IS 'Deletes everything of a user, in the caller''s transaction, and keeps a hash so that nothing of it comes back. Returns when it was deleted. Fails with 40001 where the user begins another course just then: repeat it.';
