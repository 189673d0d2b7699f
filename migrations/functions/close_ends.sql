CREATE OR REPLACE FUNCTION close_ends(ranges int4multirange, duration_ms integer) RETURNS int4multirange
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  end_ms integer := upper(ranges * int4multirange(int4range(0, duration_ms)));
BEGIN
  IF lower(ranges) BETWEEN 1 AND 250 THEN
    ranges := ranges + int4multirange(int4range(0, lower(ranges)));
  END IF;
  IF duration_ms - end_ms BETWEEN 1 AND 250 THEN
    ranges := ranges + int4multirange(int4range(end_ms, duration_ms));
  END IF;
  RETURN ranges;
END $$;
COMMENT ON FUNCTION close_ends IS 'Closes gaps of at most 250 ms between 0 and the first range, and between the last range and the duration.';
