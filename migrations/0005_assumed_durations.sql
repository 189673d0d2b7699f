-- A file of unknown duration weighs as much as the mean of its course's known ones, so the sums need a second total beside
-- total_ms. Sums that are read in seconds get a type that holds what their parts may add up to.

ALTER TABLE files ADD COLUMN assumed_ms integer;
ALTER TABLE lessons ADD COLUMN assumed_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE courses ADD COLUMN assumed_ms bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN files.assumed_ms IS 'What a file of unknown duration weighs: the mean of the known durations of its course, 0 where none is known. Null where the duration is known. Kept by apply_catalogue.';
COMMENT ON COLUMN lessons.assumed_ms IS 'Sum of files.assumed_ms over the files that count. Kept by apply_catalogue.';
COMMENT ON COLUMN courses.assumed_ms IS 'Sum of files.assumed_ms over the files that count. Kept by apply_catalogue.';

ALTER TABLE user_progress ADD COLUMN assumed_ms integer;
ALTER TABLE user_progress ALTER COLUMN contribution_ms SET EXPRESSION AS (
  CASE
    WHEN NOT counted OR coalesce(duration_ms, assumed_ms) IS NULL THEN 0
    WHEN completed THEN coalesce(duration_ms, assumed_ms)
    ELSE least(
      greatest(watched_ms, (coalesce(duration_ms, assumed_ms)::bigint * reported_bp / 10000)::integer),
      (coalesce(duration_ms, assumed_ms)::bigint * 999 / 1000)::integer
    )
  END
);
-- PostgreSQL 18 changes no expression of a virtual column in place.
ALTER TABLE user_progress DROP COLUMN progress_seconds;
ALTER TABLE user_progress
  ADD COLUMN progress_seconds integer GENERATED ALWAYS AS (least(position_ms, duration_ms) / 1000) VIRTUAL;
COMMENT ON COLUMN user_progress.position_ms IS 'Where the player was last seen, past the duration too. Of one session the higher position_seq stays; of two sessions the one with the higher (last_watched, position_session).';
COMMENT ON COLUMN user_progress.watched IS 'The union of all ranges that were played, as half-open milliseconds, past the duration too: they count once the catalogue is corrected. Gaps of at most 250 ms are closed, also those after 0 and before the duration.';
COMMENT ON COLUMN user_progress.watched_ms IS 'The length of watched up to the duration.';
COMMENT ON COLUMN user_progress.reset_at IS 'A heartbeat without an epoch that was observed at this time or before is dropped. The epoch alone decides where a heartbeat has one.';
COMMENT ON COLUMN user_progress.last_watched IS 'When the position was seen, by the clock of the database: the latest time of its session. Null in a row that a reset or an instructor made.';
COMMENT ON COLUMN user_progress.assumed_ms IS 'What the file weighs while its duration is unknown, as in files.assumed_ms.';

ALTER TABLE lesson_progress ADD COLUMN assumed_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE lesson_progress DROP COLUMN progress_percentage;
ALTER TABLE lesson_progress ADD COLUMN progress_percentage numeric(5, 2) GENERATED ALWAYS AS (
  CASE
    WHEN total_files = 0 THEN 0
    WHEN completed_files >= total_files THEN 100
    WHEN total_ms + assumed_ms = 0 THEN (completed_files::bigint * 10000 / total_files) / 100.0
    ELSE least(9999, div(contribution_ms::numeric * 10000, total_ms + assumed_ms)) / 100.0
  END
) VIRTUAL;
COMMENT ON COLUMN lesson_progress.assumed_ms IS 'What the files of unknown duration weigh, beside total_ms.';

ALTER TABLE course_progress ADD COLUMN assumed_ms bigint NOT NULL DEFAULT 0;
ALTER TABLE course_progress DROP COLUMN progress_percentage;
ALTER TABLE course_progress ADD COLUMN progress_percentage numeric(5, 2) GENERATED ALWAYS AS (
  CASE
    WHEN total_files = 0 THEN 0
    WHEN completed_files >= total_files THEN 100
    WHEN total_ms + assumed_ms = 0 THEN (completed_files::bigint * 10000 / total_files) / 100.0
    ELSE least(9999, div(contribution_ms::numeric * 10000, total_ms + assumed_ms)) / 100.0
  END
) VIRTUAL;
ALTER TABLE course_progress DROP COLUMN total_duration, DROP COLUMN watched_duration;
ALTER TABLE course_progress
  ADD COLUMN total_duration bigint GENERATED ALWAYS AS (total_ms / 1000) VIRTUAL,
  ADD COLUMN watched_duration bigint GENERATED ALWAYS AS (watched_ms / 1000) VIRTUAL;
COMMENT ON COLUMN course_progress.assumed_ms IS 'What the files of unknown duration weigh, beside total_ms.';

-- Brings the rows that are there in line. The triggers of this version are applied after the migrations, so none may run.
alter table files disable trigger user;
alter table lessons disable trigger user;
alter table courses disable trigger user;
alter table user_progress disable trigger user;

UPDATE files AS f SET assumed_ms = coalesce(
  (SELECT floor(avg(k.duration_ms)) FROM files AS k WHERE k.course_id = f.course_id AND k.counted), 0)::integer
WHERE f.duration_ms IS NULL;
UPDATE lessons AS l SET assumed_ms = (SELECT sum(f.assumed_ms) FROM files AS f WHERE f.lesson_id = l.id AND f.counted)
WHERE EXISTS (SELECT FROM files AS f WHERE f.lesson_id = l.id AND f.counted AND f.duration_ms IS NULL);
UPDATE courses AS c SET assumed_ms = (SELECT sum(f.assumed_ms) FROM files AS f WHERE f.course_id = c.id AND f.counted)
WHERE EXISTS (SELECT FROM files AS f WHERE f.course_id = c.id AND f.counted AND f.duration_ms IS NULL);

UPDATE user_progress AS p SET assumed_ms = f.assumed_ms, version = nextval('progress_version')
FROM files AS f WHERE f.id = p.file_id AND f.duration_ms IS NULL;
UPDATE user_progress AS p SET version = nextval('progress_version'), watched_ms = (
    SELECT coalesce(sum(upper(r) - lower(r)), 0) FROM unnest(p.watched * int4multirange(int4range(0, p.duration_ms))) AS r)
WHERE upper(p.watched) > p.duration_ms;

UPDATE lesson_progress AS l SET assumed_ms = t.assumed_ms, contribution_ms = s.contribution_ms, watched_ms = s.watched_ms,
  version = nextval('progress_version')
FROM lessons AS t, (
  SELECT user_id, lesson_id, sum(contribution_ms) AS contribution_ms, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched_ms
  FROM user_progress GROUP BY user_id, lesson_id
) AS s
WHERE t.id = l.lesson_id AND s.user_id = l.user_id AND s.lesson_id = l.lesson_id
  AND (l.assumed_ms, l.contribution_ms, l.watched_ms) IS DISTINCT FROM (t.assumed_ms, s.contribution_ms, s.watched_ms);
UPDATE course_progress AS c SET assumed_ms = t.assumed_ms, contribution_ms = s.contribution_ms, watched_ms = s.watched_ms,
  version = nextval('progress_version')
FROM courses AS t, (
  SELECT user_id, course_id, sum(contribution_ms) AS contribution_ms, coalesce(sum(watched_ms) FILTER (WHERE counted), 0) AS watched_ms
  FROM user_progress GROUP BY user_id, course_id
) AS s
WHERE t.id = c.course_id AND s.user_id = c.user_id AND s.course_id = c.course_id
  AND (c.assumed_ms, c.contribution_ms, c.watched_ms) IS DISTINCT FROM (t.assumed_ms, s.contribution_ms, s.watched_ms);

alter table files enable trigger user;
alter table lessons enable trigger user;
alter table courses enable trigger user;
alter table user_progress enable trigger user;
