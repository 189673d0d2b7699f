CREATE OR REPLACE FUNCTION xapi_registration(user_id text, course_id text, epoch integer) RETURNS uuid
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT (substr(h, 1, 12) || '4' || substr(h, 14, 3) || '8' || substr(h, 18, 15))::uuid
  FROM (SELECT encode(sha256(convert_to(jsonb_build_array('playhead', user_id, course_id, epoch)::text, 'UTF8')), 'hex') AS h)
$$;
COMMENT ON FUNCTION xapi_registration IS 'The registration of a user in a course: always the same UUID, and another one after a reset, because progress begins anew.';
