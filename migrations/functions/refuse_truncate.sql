CREATE OR REPLACE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'TRUNCATE % would leave the aggregates wrong', TG_TABLE_NAME
    USING HINT = 'Use DELETE: its triggers keep lesson_progress and course_progress exact.';
END $$;
COMMENT ON FUNCTION refuse_truncate IS 'Refuses TRUNCATE, which fires no trigger for its rows.';

CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON user_progress FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON lesson_progress FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
CREATE OR REPLACE TRIGGER refuse_truncate BEFORE TRUNCATE ON course_progress FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
