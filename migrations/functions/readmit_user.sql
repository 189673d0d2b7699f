CREATE OR REPLACE FUNCTION readmit_user(user_id text, issued_at timestamptz) RETURNS boolean LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  deletion deleted_users;
BEGIN
  SELECT * INTO deletion FROM deleted_users WHERE user_hash IN (SELECT deleted_user_hashes($1))
    ORDER BY deleted_at DESC LIMIT 1 FOR UPDATE;
  IF deletion.deleted_at >= $2 THEN
    RETURN false;
  END IF;
  IF FOUND AND deletion.returned_at IS NULL THEN
    UPDATE deleted_users SET returned_at = clock_timestamp(), mirrored = false WHERE user_hash IN (SELECT deleted_user_hashes($1));
    -- The trigger begin_anew leaves the mark at which all files begin.
    INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING;
  END IF;
  RETURN true;
END $$;
COMMENT ON FUNCTION readmit_user IS 'Lets a deleted user come back with a token that was issued after the deletion. False: it was issued before.';
