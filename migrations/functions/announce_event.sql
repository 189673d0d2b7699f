-- A restore writes what was announced before: it switches announcements off by the setting playhead.announce.
CREATE OR REPLACE FUNCTION announce_event(event_type text, event_data jsonb) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  event text;
BEGIN
  IF current_setting('playhead.announce', true) = 'off'
    OR NOT EXISTS (SELECT FROM webhooks WHERE event_type = ANY(events) AND disabled_at IS NULL)
  THEN
    RETURN;
  END IF;
  INSERT INTO webhook_events (type, data) VALUES (event_type, event_data) RETURNING id INTO event;
  INSERT INTO webhook_deliveries (webhook_id, event_id)
  SELECT id, event FROM webhooks WHERE event_type = ANY(events) AND disabled_at IS NULL;
END $$;
COMMENT ON FUNCTION announce_event IS 'Puts an event into the outbox for every webhook that wants its type. Without such a webhook it does nothing.';
