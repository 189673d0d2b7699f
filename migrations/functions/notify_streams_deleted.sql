CREATE OR REPLACE FUNCTION notify_streams_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM notify_streams(array_agg(json_build_array(id, nextval('progress_version'))::text)) FROM old_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION notify_streams_deleted IS 'Notifies once a statement of the streams that it deleted, with versions later than any that a client has seen of them.';

CREATE OR REPLACE TRIGGER notify_streams_delete AFTER DELETE ON streams REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION notify_streams_deleted();
