CREATE TABLE webhooks (
  id text PRIMARY KEY DEFAULT gen_random_uuid()::text,
  url text NOT NULL CHECK (url ~ '^https?://'),
  events text[] NOT NULL CHECK (events <@ ARRAY['completed', 'course_completed', 'stream_live', 'stream_ended'] AND cardinality(events) > 0),
  description text NOT NULL DEFAULT '',
  secret text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  disabled_at timestamptz
);
COMMENT ON TABLE webhooks IS 'The addresses that are told of events by HTTP.';
COMMENT ON COLUMN webhooks.secret IS 'The key that signs deliveries, as whsec_ and base64. Signing needs the key itself, so it is not a hash.';
COMMENT ON COLUMN webhooks.disabled_at IS 'Since when nothing is sent, because the receiver answered 410 Gone or an admin stopped it.';

CREATE TABLE webhook_events (
  id text PRIMARY KEY DEFAULT 'evt_' || replace(uuidv7()::text, '-', ''),
  type text NOT NULL,
  data jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX webhook_events_created ON webhook_events (created_at);
COMMENT ON TABLE webhook_events IS 'The outbox: events are written in the transaction in which they happen, and only while some webhook wants them.';

CREATE TABLE webhook_deliveries (
  webhook_id text NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
  event_id text NOT NULL REFERENCES webhook_events (id) ON DELETE CASCADE,
  state text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'delivered', 'dead')),
  attempts integer NOT NULL DEFAULT 0,
  next_at timestamptz NOT NULL DEFAULT now(),
  last_error text,
  settled_at timestamptz,
  PRIMARY KEY (webhook_id, event_id)
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (webhook_id, next_at) WHERE state = 'waiting';
CREATE INDEX webhook_deliveries_event ON webhook_deliveries (event_id);
COMMENT ON TABLE webhook_deliveries IS 'One event on its way to one webhook.';
COMMENT ON COLUMN webhook_deliveries.next_at IS 'When the next attempt is due. While an attempt is under way: when it is given up for lost.';
COMMENT ON COLUMN webhook_deliveries.state IS 'dead: every attempt failed, or the webhook was disabled. An admin may send it again.';
