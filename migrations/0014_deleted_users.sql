-- Who was deleted must not come back with a token, a heartbeat or a document from before. What tells them is a hash: nothing else
-- of the user is kept.

CREATE TABLE deleted_users (
  user_hash bytea PRIMARY KEY CHECK (octet_length(user_hash) = 32),
  deleted_at timestamptz NOT NULL,
  epoch integer NOT NULL CHECK (epoch > 0),
  returned_at timestamptz,
  mirrored boolean NOT NULL DEFAULT false
);
CREATE INDEX deleted_users_to_mirror ON deleted_users (user_hash) WHERE NOT mirrored;
COMMENT ON TABLE deleted_users IS 'Whose data was deleted, by the hash of the id (deleted_user_hashes). delete_user writes it.';
COMMENT ON COLUMN deleted_users.deleted_at IS 'Tokens that were issued at this time or before are refused.';
COMMENT ON COLUMN deleted_users.epoch IS 'Past every epoch that the user''s rows had. If the user comes back, all files begin there.';
COMMENT ON COLUMN deleted_users.returned_at IS 'When the user came back with a newer token. Null: nobody may make the row in users again.';
COMMENT ON COLUMN deleted_users.mirrored IS 'Whether the mirror holds the row as it is.';

-- For what a deletion and an export look up beside the tables of progress.
CREATE INDEX user_activity_log_actor ON user_activity_log (actor_id) WHERE actor_id IS NOT NULL;
CREATE INDEX webhook_events_user ON webhook_events ((data ->> 'userId'));

COMMENT ON COLUMN reset_marks.course_id IS 'Not a foreign key: the mark outlives a course that is deleted and perhaps put again. Empty: the mark is of every file of every course.';
