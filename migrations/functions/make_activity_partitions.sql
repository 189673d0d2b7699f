CREATE OR REPLACE FUNCTION make_activity_partitions(months_ahead integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  month_start timestamptz;
BEGIN
  FOR ahead IN 0..months_ahead LOOP
    month_start := date_trunc('month', now(), 'UTC') + make_interval(months => ahead);
    BEGIN
      EXECUTE format(
        'CREATE TABLE IF NOT EXISTS %I PARTITION OF user_activity_log FOR VALUES FROM (%L) TO (%L)',
        'user_activity_log_' || to_char(month_start AT TIME ZONE 'UTC', 'YYYY_MM'),
        month_start, date_trunc('month', month_start + interval '32 days', 'UTC'));
    EXCEPTION WHEN check_violation OR lock_not_available THEN
      -- The default partition holds rows of this month already, or is locked. Rows stay there, so nothing is lost.
      RAISE WARNING 'no partition of user_activity_log made for %: %', month_start, SQLERRM;
    END;
  END LOOP;
END $$;
COMMENT ON FUNCTION make_activity_partitions IS 'Makes the partitions of user_activity_log for this month and the months after it. Safe to call at any time.';

-- A new database has its first partitions at once. The server makes the later ones, once a day.
SELECT make_activity_partitions(3);
