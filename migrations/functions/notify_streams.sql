CREATE OR REPLACE FUNCTION notify_streams(keys text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(keys) <= 2000 THEN
    PERFORM pg_notify('streams', '{"keys":[' || string_agg(key, ',') || ']}')
      FROM (SELECT key, sum(octet_length(key) + 1) OVER (ROWS UNBOUNDED PRECEDING) / 5500 AS chunk
            FROM unnest(keys) AS key) AS chunked
      GROUP BY chunk;
  ELSE
    PERFORM pg_notify('streams', '{"again":true}');
  END IF;
END $$;
COMMENT ON FUNCTION notify_streams IS 'Notifies the channel streams: of the changed streams, or past 2,000 of them that all are to be read again. About the length of a payload, see notify_changes.';
