CREATE OR REPLACE FUNCTION expect_rows(written bigint, expected bigint) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  IF written <> expected THEN
    RAISE EXCEPTION 'a row of the batch has another version' USING ERRCODE = 'PH002';
  END IF;
END $$;
COMMENT ON FUNCTION expect_rows IS 'Fails a batch with PH002 unless a statement wrote all rows that it was given.';
