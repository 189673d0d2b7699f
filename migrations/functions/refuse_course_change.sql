CREATE OR REPLACE FUNCTION refuse_course_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% % belongs to course %', TG_TABLE_NAME, OLD.id, OLD.course_id
    USING ERRCODE = 'integrity_constraint_violation', HINT = 'Delete it, or name the new one otherwise.';
END $$;
COMMENT ON FUNCTION refuse_course_change IS 'Refuses that a lesson or a file changes its course: progress, rights and locks all go by the course.';

CREATE OR REPLACE TRIGGER refuse_course_change BEFORE UPDATE OF course_id ON lessons FOR EACH ROW
  WHEN (OLD.course_id <> NEW.course_id) EXECUTE FUNCTION refuse_course_change();
CREATE OR REPLACE TRIGGER refuse_course_change BEFORE UPDATE OF course_id ON files FOR EACH ROW
  WHEN (OLD.course_id <> NEW.course_id) EXECUTE FUNCTION refuse_course_change();
