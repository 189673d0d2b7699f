CREATE OR REPLACE FUNCTION read_claimed(hashes bytea[], versions bigint[])
RETURNS TABLE (i integer, "streamId" text, status text, policy text, "isExpired" boolean, "lifetimeMs" float8, "goodUntil" timestamptz,
  "sessionId" text, server text, boot text, connection text, state text, "isReserved" boolean, fresh streams)
LANGUAGE plpgsql ROWS 100
-- PostgreSQL plans it once a connection, perhaps while the tables are still empty: it must look up by index all the same.
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
#variable_conflict use_column
BEGIN
  RETURN QUERY
  SELECT k.i::integer, s.id, s.status, s.policy, coalesce(s.expires_at <= clock_timestamp(), false),
    CASE WHEN s.expires_at IS NULL THEN 0 ELSE greatest(1, ceil(extract(epoch FROM s.expires_at - clock_timestamp()) * 1000)) END::float8,
    CASE WHEN s.key_hash <> k.hash THEN s.previous_key_until END,
    a.claim, a.server, a.boot, a.connection, a.state, coalesce(a.reserved_until > clock_timestamp(), false),
    CASE WHEN s.version <> k.version THEN ROW(s.*)::streams END
  FROM unnest(hashes, versions) WITH ORDINALITY AS k (hash, version, i)
  CROSS JOIN LATERAL (
    SELECT * FROM streams WHERE key_hash = k.hash
    UNION ALL
    SELECT * FROM streams WHERE previous_key_hash = k.hash AND previous_key_until > clock_timestamp()
    LIMIT 1
  ) AS s
  LEFT JOIN LATERAL (
    SELECT * FROM stream_sessions WHERE stream_id = s.id AND state <> 'ended' LIMIT 1
  ) AS a ON true;
END $$;
COMMENT ON FUNCTION read_claimed IS 'Reads whose keys these are and who holds their streams, in one snapshot; i is the place of a key in the arrays. fresh is the whole stream where the caller knows another version of it.';
