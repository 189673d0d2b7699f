-- All that is stored of a user needs the row in users. So here nothing of a deleted user can pass, whoever writes and
-- whatever a process has missed. PH003: the user was deleted.
CREATE OR REPLACE FUNCTION begin_anew() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  returned record;
BEGIN
  IF NOT EXISTS (SELECT FROM deleted_users) THEN
    RETURN NULL;
  END IF;
  FOR returned IN
    SELECT n.id, d.epoch, d.deleted_at, d.returned_at FROM new_rows AS n
    CROSS JOIN LATERAL (
      SELECT d.* FROM deleted_users AS d WHERE d.user_hash = ANY (ARRAY(SELECT deleted_user_hashes(n.id))) OFFSET 0
    ) AS d
    ORDER BY n.id
  LOOP
    IF returned.returned_at IS NULL THEN
      RAISE EXCEPTION 'user % was deleted', returned.id
        USING ERRCODE = 'PH003', HINT = 'A token that is issued now lets the user in again; so does SELECT readmit_user(…, now()).';
    END IF;
    INSERT INTO reset_marks AS m (user_id, course_id, epoch, reset_at)
    VALUES (returned.id, '', returned.epoch, returned.deleted_at)
    ON CONFLICT (user_id, course_id, file_id) DO UPDATE SET epoch = greatest(m.epoch, excluded.epoch);
  END LOOP;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION begin_anew IS 'Refuses a row in users for a user who was deleted, until readmit_user; then all files of the user begin past the epochs that they had.';

CREATE OR REPLACE TRIGGER begin_anew AFTER INSERT ON users REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION begin_anew();
