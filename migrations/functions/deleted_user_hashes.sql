-- One salt, and one more for each other database whose deletions a restore from the mirror has brought.
CREATE OR REPLACE FUNCTION deleted_user_hashes(user_id text) RETURNS SETOF bytea LANGUAGE sql STABLE ROWS 1 AS $$
  SELECT sha256(convert_to(salt || $1, 'UTF8')) FROM settings AS s, string_to_table(s.value, ',') WITH ORDINALITY AS t (salt, ord)
  WHERE s.name = 'deletion_salts' ORDER BY ord
$$;
COMMENT ON FUNCTION deleted_user_hashes IS 'The hashes by which deleted_users may know a user; a new deletion takes the first.';
