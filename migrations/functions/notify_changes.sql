-- The payload of a NOTIFY must stay below 8,000 octets, or the whole transaction fails. A key has up to four ids of 128
-- characters, each up to 6 octets as JSON, and a version: less than 3,200 octets. Each key goes into the chunk in which it ends,
-- so a chunk holds at most 4,700 octets and one more key.
CREATE OR REPLACE FUNCTION notify_changes(keys text[], courses text[]) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF cardinality(keys) <= 2000 THEN
    PERFORM pg_notify('progress', '{"keys":[' || string_agg(key, ',') || ']}')
      FROM (SELECT key, sum(octet_length(key) + 1) OVER (ROWS UNBOUNDED PRECEDING) / 4700 AS chunk
            FROM unnest(keys) AS key) AS chunked
      GROUP BY chunk;
  ELSE
    PERFORM pg_notify('progress', json_build_object('again', course)::text) FROM unnest(courses) AS course;
  END IF;
END $$;
COMMENT ON FUNCTION notify_changes IS 'Notifies the channel progress: of the changed keys, or past 2,000 keys of each course whose rows are to be read again.';
