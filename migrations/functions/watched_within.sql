CREATE OR REPLACE FUNCTION watched_within(ranges int4multirange, from_ms integer, to_ms integer) RETURNS integer
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT multirange_ms(ranges * int4multirange(int4range(from_ms, CASE WHEN to_ms IS NOT NULL THEN greatest(from_ms, to_ms) END))) $$;
COMMENT ON FUNCTION watched_within IS 'The length of the ranges between two places, in ms. To a place that is null there is no end.';
