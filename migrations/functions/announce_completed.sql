-- The conditions of the triggers are looked at for every row that a heartbeat writes; the functions run for completions alone.
CREATE OR REPLACE FUNCTION announce_completed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM announce_event('completed', jsonb_build_object('userId', NEW.user_id, 'fileId', NEW.file_id, 'lessonId', NEW.lesson_id,
    'courseId', NEW.course_id, 'source', NEW.completion_source, 'epoch', NEW.epoch, 'version', NEW.version));
  RETURN NULL;
END $$;
COMMENT ON FUNCTION announce_completed IS 'Announces that a user has completed a file.';

CREATE OR REPLACE TRIGGER announce_completed_insert AFTER INSERT ON user_progress FOR EACH ROW
  WHEN (NEW.completed) EXECUTE FUNCTION announce_completed();
CREATE OR REPLACE TRIGGER announce_completed_update AFTER UPDATE ON user_progress FOR EACH ROW
  WHEN (NEW.completed AND NOT OLD.completed) EXECUTE FUNCTION announce_completed();
