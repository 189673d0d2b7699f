CREATE OR REPLACE FUNCTION xapi_player(session text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT CASE WHEN session LIKE 'http:%' THEN '' ELSE session END $$;
COMMENT ON FUNCTION xapi_player IS 'The player that a session of heartbeats belongs to. Every HTTP request that names no session has one of its own: all of them are one player.';
