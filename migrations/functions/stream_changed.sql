CREATE OR REPLACE FUNCTION stream_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  NEW.version := nextval('progress_version');
  NEW.updated_at := clock_timestamp();
  IF NEW.status = 'expired' AND OLD.status = 'expired' AND NEW.expires_at IS DISTINCT FROM OLD.expires_at
    AND (NEW.expires_at IS NULL OR NEW.expires_at > clock_timestamp()) THEN
    NEW.status := 'ready';
  END IF;
  IF NEW.status = OLD.status THEN
    RETURN NEW;
  END IF;
  IF NEW.status = 'live' THEN
    NEW.ended_at := NULL;
    NEW.started_at := coalesce(
      (SELECT started_at FROM stream_sessions WHERE stream_id = NEW.id AND state <> 'ended'), clock_timestamp());
  ELSE
    NEW.bitrate_kbps := NULL;
    NEW.viewers := NULL;
    IF OLD.status IN ('live', 'reconnecting') AND NEW.status <> 'reconnecting' THEN
      -- The time when the media ended: the stream did not go on while it waited for its encoder to come back.
      NEW.ended_at := coalesce(
        (SELECT ended_at FROM stream_sessions WHERE stream_id = NEW.id AND started_at IS NOT NULL ORDER BY id DESC LIMIT 1),
        clock_timestamp());
    END IF;
  END IF;
  RETURN NEW;
END $$;
COMMENT ON FUNCTION stream_changed IS 'Keeps the columns of a stream that follow from its status, and draws its version.';

CREATE OR REPLACE TRIGGER stream_changed BEFORE UPDATE ON streams FOR EACH ROW EXECUTE FUNCTION stream_changed();
