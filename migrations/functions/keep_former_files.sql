CREATE OR REPLACE FUNCTION keep_former_files() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO former_files (file_id, course_id) SELECT id, course_id FROM old_rows ORDER BY 1, 2 ON CONFLICT DO NOTHING;
  RETURN NULL;
END $$;
COMMENT ON FUNCTION keep_former_files IS 'Keeps the course of a file that is deleted, whose reset marks hold for the file when it is put again.';

CREATE OR REPLACE TRIGGER keep_former_files AFTER DELETE ON files REFERENCING OLD TABLE AS old_rows
  FOR EACH STATEMENT EXECUTE FUNCTION keep_former_files();
