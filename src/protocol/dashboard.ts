import { z } from "zod";
import { doc } from "./doc.ts";
import { PlayerState } from "./heartbeat.ts";
import { Id } from "./ids.ts";
import { CourseProgressRow, FileProgress, FileProgressRow, LessonProgress } from "./progress.ts";
import { Stream } from "./stream.ts";
import type * as Wire from "./wire.ts";

/** A topic that a dashboard can watch. */
export type Topic =
  | { kind: "user"; userId: string }
  | { kind: "course"; courseId: string }
  | { kind: "learner"; courseId: string; userId: string }
  | { kind: "lesson"; lessonId: string }
  | { kind: "file"; fileId: string }
  | { kind: "stream"; streamId: string }
  | { kind: "streams" };

/** The forms a topic's name may take, for error messages. */
export const TOPIC_FORMS =
  "user:<id>, course:<id>, course:<id>/user:<id>, lesson:<id>, file:<id>, stream:<id> or streams";

export const Subscribe = z.object({
  topic: z
    .string()
    .max(600)
    .meta(doc(`The topic: ${TOPIC_FORMS}.`, "course:demo")),
});

/**
 * Reads the name of a topic. An id may itself contain `/user:`, so the last one separates the course from the learner.
 * @returns null where the name is no topic; `TOPIC_FORMS` lists the forms
 */
export function parseTopic(name: string): Topic | null {
  if (name === "streams") return { kind: "streams" };
  const colon = name.indexOf(":");
  const kind = name.slice(0, colon);
  const id = name.slice(colon + 1);
  if (colon < 0 || !Id.safeParse(id).success) return kind === "course" ? parseLearnerTopic(id) : null;
  switch (kind) {
    case "user":
      return { kind, userId: id };
    case "course":
      return parseLearnerTopic(id) ?? { kind, courseId: id };
    case "lesson":
      return { kind, lessonId: id };
    case "file":
      return { kind, fileId: id };
    case "stream":
      return { kind, streamId: id };
    default:
      return null;
  }
}

function parseLearnerTopic(rest: string): Topic | null {
  const slash = rest.lastIndexOf("/user:");
  if (slash < 0) return null;
  const courseId = rest.slice(0, slash);
  const userId = rest.slice(slash + "/user:".length);
  if (!Id.safeParse(courseId).success || !Id.safeParse(userId).success) return null;
  return { kind: "learner", courseId, userId };
}

export type Present = Wire.Present;
export type Removed = Wire.Removed;
export type Update = Wire.Update;
export type { TopicTotals } from "./wire.ts";

/*
 * The schemas of frames, for the documents that describe them. The server makes the frames, and does not parse them.
 */

const userId = z.string().meta(doc("The learner.", "bob"));
const fileId = z.string().meta(doc("The file.", "demo-intro"));
const version = z.number().meta(doc("Rows up to this version are gone; a row with a higher version comes back.", 7));

export const Present = z
  .object({
    userId,
    fileId,
    position: z.number().meta(doc("The position that the player reported last, in seconds.", 8)),
    state: PlayerState.meta(doc("What the player does.", "playing")),
    rate: z.number().meta(doc("The playback rate; 0 means that playback stalls.", 1)),
    ageMs: z.number().meta(doc("How long ago the position was reported, when the frame was made.", 0)),
  })
  .meta({ id: "Present", ...doc("A player that is present.") }) satisfies z.ZodType<Present>;

function removed<K extends Removed["kind"], S extends z.ZodRawShape>(kind: K, key: S) {
  return z.object({ kind: z.literal(kind).meta(doc("What is gone.", kind)), ...key, version });
}

export const Removed = z
  .union([
    removed("present", { userId, fileId }),
    removed("progress", { userId, fileId }),
    removed("lesson", { userId, lessonId: z.string().meta(doc("The lesson.", "demo-start")) }),
    removed("course", { userId, courseId: z.string().meta(doc("The course.", "demo")) }),
    removed("stream", { streamId: Stream.shape.id }),
  ])
  .meta({ id: "Removed", ...doc("A row or a viewer that is gone. A viewer that left has version 0.") });

const Totals = z.object({
  learners: z.number().meta(doc("How many learners have begun.", 2)),
  completed: z.number().meta(doc("How many of them have completed it.", 0)),
  percentage: z.number().meta(doc("Their mean percentage.", 9.72)),
});

export const Update = z
  .object({
    topic: z.string().meta(doc("The topic.", "course:demo")),
    n: z.number().meta(doc("Grows with every frame of a topic on a connection, not always by one.", 42)),
    at: z
      .string()
      .meta(doc("When the frame was made, by the server's clock. For people to read.", "2026-11-21T14:17:18.068Z")),
    progress: z
      .array(z.union([FileProgressRow, FileProgress]).meta(doc("Progress in a file.")))
      .optional()
      .meta(doc("Progress of files; without `watched` in the topics of a course, lesson or file.")),
    lessons: z.array(LessonProgress).optional().meta(doc("Progress of lessons.")),
    courses: z.array(CourseProgressRow).optional().meta(doc("Progress of courses.")),
    streams: z.array(Stream).optional().meta(doc("Streams.")),
    present: z.array(Present).optional().meta(doc("The players that are present.")),
    viewers: z.number().optional().meta(doc("How many players are present.", 1)),
    removed: z.array(Removed).optional().meta(doc("What is gone.")),
    totals: Totals.optional().meta(doc("The sums over all learners of a course, lesson or file.")),
    snapshot: z
      .literal(true)
      .optional()
      .meta(doc("The frame begins the state anew: forget everything that you hold of the topic.", true)),
    behind: z
      .boolean()
      .optional()
      .meta(doc("`true`: changes may be missing from now on. `false`: they come again; a snapshot follows.", false)),
  })
  .meta({ id: "Update", ...doc("A frame of a topic. A field that it does not have has not changed.") });
