ALTER TABLE stream_sessions ADD COLUMN lease_seconds real;
COMMENT ON COLUMN stream_sessions.lease_seconds IS 'The length of the lease. If the clock is set back, lease_until is brought back within this time.';
