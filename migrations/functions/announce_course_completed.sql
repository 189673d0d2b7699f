CREATE OR REPLACE FUNCTION announce_course_completed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  PERFORM announce_event('course_completed', jsonb_build_object('userId', NEW.user_id, 'courseId', NEW.course_id,
    'totalFiles', NEW.total_files, 'version', NEW.version));
  RETURN NULL;
END $$;
COMMENT ON FUNCTION announce_course_completed IS 'Announces that a user has completed every required file of a course.';

CREATE OR REPLACE TRIGGER announce_course_completed_insert AFTER INSERT ON course_progress FOR EACH ROW
  WHEN (NEW.total_files > 0 AND NEW.completed_files >= NEW.total_files) EXECUTE FUNCTION announce_course_completed();
CREATE OR REPLACE TRIGGER announce_course_completed_update AFTER UPDATE ON course_progress FOR EACH ROW
  WHEN (NEW.completed_files >= NEW.total_files AND NEW.total_files > 0
    AND (OLD.completed_files < OLD.total_files OR OLD.total_files = 0)) EXECUTE FUNCTION announce_course_completed();
