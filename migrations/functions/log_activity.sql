CREATE OR REPLACE FUNCTION log_activity(entries jsonb) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO user_activity_log (user_id, file_id, lesson_id, course_id, activity_type, duration_seconds, actor_id)
  SELECT * FROM jsonb_to_recordset(entries) AS entry (
    user_id text, file_id text, lesson_id text, course_id text, activity_type text, duration_seconds integer, actor_id text);
EXCEPTION WHEN OTHERS THEN
  RAISE WARNING 'activity was not logged: %', SQLERRM;
END $$;
COMMENT ON FUNCTION log_activity IS 'Writes entries of the activity log. A failure is a warning: it never fails the transaction that is logged.';
