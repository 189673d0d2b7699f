-- A batch gives every row that it updates another base_version, and nobody else does. The trigger of updates asks for that
-- first, because a column costs less to read than a setting.
CREATE OR REPLACE FUNCTION complete_row() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  file files;
BEGIN
  SELECT * INTO file FROM files WHERE id = NEW.file_id;
  IF FOUND THEN
    NEW.lesson_id := file.lesson_id;
    NEW.course_id := file.course_id;
    NEW.duration_ms := file.duration_ms;
    NEW.assumed_ms := file.assumed_ms;
    NEW.counted := file.counted;
  END IF;
  IF TG_OP = 'INSERT' THEN
    SELECT greatest(NEW.epoch, m.epoch), greatest(NEW.reset_at, m.reset_at) INTO NEW.epoch, NEW.reset_at
      FROM reset_mark(NEW.user_id, NEW.course_id, NEW.file_id) AS m;
  END IF;
  NEW.watched := close_ends(NEW.watched, NEW.duration_ms);
  NEW.watched_ms := watched_within(NEW.watched, 0, NEW.duration_ms);
  -- A row that has reached the threshold is completed, except where this statement has just cleared that by hand.
  IF NOT NEW.completed AND NEW.watched_ms >= file.complete_at_ms AND NOT (TG_OP = 'UPDATE' AND OLD.completed)
    AND watched_within(NEW.watched, coalesce(file.start_ms, 0), coalesce(file.credits_at_ms, file.duration_ms)) >= file.complete_at_ms THEN
    NEW.completed := true;
    NEW.completion_source := 'auto';
  END IF;
  NEW.completion_source := CASE WHEN NEW.completed THEN coalesce(NEW.completion_source, 'manual') END;
  IF TG_OP = 'UPDATE' THEN
    NEW.version := nextval('progress_version');
  END IF;
  NEW.updated_at := clock_timestamp();
  RETURN NEW;
END $$;
COMMENT ON FUNCTION complete_row IS 'Fills in the columns of a progress row that follow from its file and its ranges, by the same rules as a batch follows.';

CREATE OR REPLACE TRIGGER complete_row_insert BEFORE INSERT ON user_progress FOR EACH ROW
  WHEN (coalesce(current_setting('playhead.writer', true), '') <> 'batch') EXECUTE FUNCTION complete_row();
CREATE OR REPLACE TRIGGER complete_row_update BEFORE UPDATE ON user_progress FOR EACH ROW
  WHEN (NEW.base_version IS NOT DISTINCT FROM OLD.base_version AND coalesce(current_setting('playhead.writer', true), '') <> 'batch')
  EXECUTE FUNCTION complete_row();
