CREATE OR REPLACE FUNCTION user_lock(user_id text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT hashtextextended(user_id, 7704) $$;
COMMENT ON FUNCTION user_lock IS 'The advisory lock of a user, as lock_writers takes it.';
