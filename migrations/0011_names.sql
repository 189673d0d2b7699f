ALTER TABLE users
  ADD COLUMN name text CHECK (char_length(name) BETWEEN 1 AND 500),
  ADD COLUMN name_source text CHECK (name_source IN ('profile', 'claim')),
  ADD CHECK ((name IS NULL) = (name_source IS NULL));
COMMENT ON COLUMN users.name IS 'The name that other people see. Null where nobody has told it: then the account''s own names stand for it.';
COMMENT ON COLUMN users.name_source IS 'Who told the name: a profile that was put over HTTP, or the claim `name` of a token. A claim never replaces a profile.';
