CREATE OR REPLACE FUNCTION lock_batch(lock_wait text, users text[], courses text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM set_config('lock_timeout', lock_wait, true);
  PERFORM lock_writers('batch', users, courses);
EXCEPTION WHEN lock_not_available THEN
  RAISE EXCEPTION 'others hold the locks of the batch' USING ERRCODE = 'PH001';
END $$;
COMMENT ON FUNCTION lock_batch IS 'Takes the locks of a batch of heartbeats, or fails with PH001 after lock_wait.';
