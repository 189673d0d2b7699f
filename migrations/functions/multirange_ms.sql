CREATE OR REPLACE FUNCTION multirange_ms(ranges int4multirange) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE AS
$$ SELECT coalesce(sum(upper(r) - lower(r)), 0)::integer FROM unnest(ranges) AS r $$;
COMMENT ON FUNCTION multirange_ms IS 'The length of all ranges together, in ms.';
