CREATE TABLE user_profiles (
  user_id text PRIMARY KEY CHECK (char_length(user_id) BETWEEN 1 AND 128),
  name text NOT NULL CHECK (char_length(name) BETWEEN 1 AND 500),
  name_source text NOT NULL CHECK (name_source IN ('profile', 'claim')),
  updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE user_profiles IS 'What people know a user by. No foreign key: a name is known when a user connects, before the first write makes the row in users.';
COMMENT ON COLUMN user_profiles.name_source IS 'Who told the name: a profile that was put over HTTP, or the claim name of a token. A claim never replaces a profile.';
