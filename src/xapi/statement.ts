import { cutAt, type Range } from "../protocol/ranges.ts";
import { XAPI_VERBS, type XapiStatement, type XapiVerb } from "../protocol/xapi.ts";

/*
 * A statement's JSON, by the Video Profile 1.0.2: its templates
 * (https://github.com/adlnet/xapi-authored-profiles/blob/master/video/v1.0.2/video.jsonld) and its data model
 * (https://github.com/liveaspankaj/xapi-video-cop/blob/master/statement_data_model.md). Of one row always the same JSON:
 * stores compare statements of the same id.
 */

const VIDEO = "https://w3id.org/xapi/video";
/** The profile, and the version of it. */
const CATEGORIES = [VIDEO, `${VIDEO}/v1.0.2`];
const EXTENSION = `${VIDEO}/extensions`;
const ADL_TYPE = "http://adlnet.gov/expapi/activities";

/** A row of xapi_statements. */
export interface StatementRow {
  seq: string;
  id: string;
  stored: Date;
  userId: string;
  courseId: string;
  lessonId: string;
  fileId: string;
  verb: XapiVerb;
  /** Null where a catalogue change completed the file: nobody was playing it. */
  sessionId: string | null;
  registration: string;
  timestamp: Date;
  title: string;
  durationMs: number;
  threshold: number;
  positionMs: number;
  watched: readonly Range[];
  watchedMs: number;
  watchTimeMs: number;
  reached: boolean;
}

/** The columns of xapi_statements `s`, as a `StatementRow`. */
export const STATEMENT_COLUMNS = `s.seq::text AS seq, s.id, s.stored, s.user_id AS "userId", s.course_id AS "courseId",
  s.lesson_id AS "lessonId", s.file_id AS "fileId", s.verb, s.session_id AS "sessionId", s.registration, s."timestamp", s.title,
  s.duration_ms AS "durationMs", s.threshold::float8 AS threshold, s.position_ms AS "positionMs",
  (SELECT coalesce(jsonb_agg(jsonb_build_array(coalesce(lower(r), 0), coalesce(upper(r), s.duration_ms)) ORDER BY r), '[]') FROM unnest(s.watched) AS r) AS watched,
  s.watched_ms AS "watchedMs", s.watch_time_ms AS "watchTimeMs", s.reached`;

/** What activities and accounts are named by. */
export interface Names {
  base: string;
  homePage: string;
}

/** The id of the activity that a file, a lesson or a course is. */
export function toActivityId({ base }: Names, kind: "files" | "lessons" | "courses", id: string): string {
  return `${base}/${kind}/${encodeURIComponent(id)}`;
}

/** The id of the file of an activity; null where the activity is none of Playhead's files. */
export function toFileId({ base }: Names, activityId: string): string | null {
  const prefix = `${base}/files/`;
  if (!activityId.startsWith(prefix)) return null;
  try {
    return decodeURIComponent(activityId.slice(prefix.length));
  } catch {
    return null;
  }
}

export function toStatement(row: StatementRow, names: Names): XapiStatement {
  const { verb, title } = row;
  return {
    id: row.id,
    actor: { objectType: "Agent", account: { homePage: names.homePage, name: row.userId } },
    verb: { id: XAPI_VERBS[verb], display: { en: verb } },
    object: {
      objectType: "Activity",
      id: toActivityId(names, "files", row.fileId),
      // The language of a title is not known.
      definition: { type: `${VIDEO}/activity-type/video`, ...(title === "" ? {} : { name: { und: title } }) },
    },
    ...(verb === "initialized" ? {} : { result: toResult(row) }),
    context: {
      registration: row.registration,
      platform: "Playhead",
      contextActivities: {
        category: CATEGORIES.map((id) => ({ id })),
        parent: [{ id: toActivityId(names, "lessons", row.lessonId), definition: { type: `${ADL_TYPE}/lesson` } }],
        grouping: [{ id: toActivityId(names, "courses", row.courseId), definition: { type: `${ADL_TYPE}/course` } }],
      },
      extensions: {
        [`${EXTENSION}/length`]: row.durationMs / 1000,
        [`${EXTENSION}/completion-threshold`]: row.threshold,
        ...(row.sessionId === null ? {} : { [`${EXTENSION}/session-id`]: row.sessionId }),
      },
    },
    timestamp: row.timestamp.toISOString(),
  };
}

function toResult(row: StatementRow): NonNullable<XapiStatement["result"]> {
  return {
    ...(row.verb === "completed" ? { completion: true, duration: toIsoDuration(row.watchTimeMs) } : {}),
    extensions: {
      [`${EXTENSION}/time`]: row.positionMs / 1000,
      [`${EXTENSION}/progress`]: toProgress(row),
      [`${EXTENSION}/played-segments`]: toSegments(row),
    },
  };
}

/** The watched share, rounded down to 3 decimals; not below a threshold that is reached, which is rounded up. */
function toProgress({ watchedMs, durationMs, threshold, reached }: StatementRow): number {
  const share = Math.floor((1000 * Math.min(watchedMs, durationMs)) / durationMs) / 1000;
  return reached ? Math.max(share, threshold) : share;
}

/** Where nothing was watched, a segment without length: readers split the text, and may stumble over an empty one. */
function toSegments({ watched, durationMs, positionMs }: StatementRow): string {
  const shown = cutAt(watched, durationMs);
  const segments: readonly Range[] = shown.length === 0 ? [[positionMs, positionMs]] : shown;
  return segments.map(([from, to]) => `${toSeconds(from)}[.]${toSeconds(to)}`).join("[,]");
}

function toSeconds(ms: number): string {
  return (ms / 1000).toFixed(3);
}

/** In seconds, with the 2 decimals that xAPI asks for (https://github.com/adlnet/xAPI-Spec/blob/1.0.3/xAPI-Data.md#46-iso-8601-durations). */
function toIsoDuration(ms: number): string {
  return `PT${Math.floor(ms / 10) / 100}S`;
}
