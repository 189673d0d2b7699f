CREATE OR REPLACE FUNCTION notify_streams_written() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM notify_streams(array_agg(json_build_array(id, version)::text)) FROM new_rows HAVING count(*) > 0;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION notify_streams_written IS 'Notifies once a statement of the streams that it wrote.';

CREATE OR REPLACE TRIGGER notify_streams_insert AFTER INSERT ON streams REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION notify_streams_written();
CREATE OR REPLACE TRIGGER notify_streams_update AFTER UPDATE ON streams REFERENCING NEW TABLE AS new_rows
  FOR EACH STATEMENT EXECUTE FUNCTION notify_streams_written();
