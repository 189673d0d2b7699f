import { z } from "zod";
import { doc } from "./doc.ts";
import { ROLES } from "./roles.ts";

/*
 * Everything that is stored of a user, as one document. Lists are flat, so that a long one goes out in parts. Times are ISO
 * 8601 in UTC, with microseconds; lengths are in seconds.
 */

const EXAMPLE_TIME = "2026-11-21T14:17:17.993412Z";

const text = (description: string, example: string) => z.string().meta(doc(description, example));
const optionalText = (description: string, example: string | null) =>
  z.string().nullable().meta(doc(description, example));
const number = (description: string, example: number) => z.number().meta(doc(description, example));
const optionalNumber = (description: string, example: number | null) =>
  z.number().nullable().meta(doc(description, example));
const flag = (description: string, example: boolean) => z.boolean().meta(doc(description, example));
const instant = (description: string) => text(description, EXAMPLE_TIME);
const optionalInstant = (description: string, example: string | null = EXAMPLE_TIME) =>
  optionalText(description, example);
const list = <S extends z.ZodRawShape>(description: string, item: string, shape: S) =>
  z.array(z.object(shape).meta(doc(item))).meta(doc(description));

const courseId = text("The course.", "demo");
const lessonId = text("The lesson.", "demo-start");
const version = number("Grows with every change.", 42);

/** A lesson's or a course's sums. */
const SUMS = {
  title: text("The title in the catalogue of today.", "Getting started"),
  percentage: number("Weighed by duration, rounded down to hundredths.", 33.33),
  totalFiles: number("How many files count.", 3),
  startedFiles: number("In how many files there is progress.", 1),
  completedFiles: number("How many of the counted files are completed.", 1),
  totalSeconds: number("The known durations of the files that count.", 72),
  watchedSeconds: number("The length of what was watched of them.", 24),
  firstAt: instant("When the first progress was stored."),
  lastUpdated: instant("When the row last changed."),
  version,
};

const ACTIVITY = {
  at: instant("When it happened."),
  type: text("`started`, `resumed`, `completed`, `reset`, `manual`, `waived` or `uncompleted`.", "started"),
  courseId: optionalText("The course.", "demo"),
  lessonId: optionalText("The lesson; null if it was a whole course.", "demo-start"),
  fileId: optionalText("The file; null if it was a whole course.", "demo-intro"),
};

const ranges = z
  .array(z.tuple([z.number(), z.number()]).meta(doc("From, and to.", [0, 24])))
  .meta(doc("The parts that were watched.", [[0, 24]]));

/** What an xAPI statement says of the user. */
const STATEMENT = {
  statementId: text("The id of the statement.", "8f0c5d55-2b4e-4c57-9d8b-5a8f3a0c9b11"),
  verb: text("`initialized`, `completed`, `paused` or `terminated`.", "completed"),
  courseId,
  lessonId,
  fileId: text("The file.", "demo-intro"),
  title: text("The title of the file at that time.", "Introduction"),
  registration: text("The user in the course, until a reset.", "1f6b1c1e-7a55-4d0c-8a4b-0d6a2f5b7c3e"),
  sessionId: optionalText("The session; null where nobody was playing.", "4c0e5f4e-5d43-4a76-9a0b-06ea43c53a10"),
  at: instant("When it happened."),
  storedAt: instant("When it was stored."),
  position: number("Where the player was.", 24),
  duration: number("The duration of the file at that time.", 24),
  watched: ranges,
  watchedSeconds: number("The length of what was watched.", 24),
  watchTimeSeconds: number("The time spent, re-watching included.", 24.5),
  threshold: number("The share of the file that completes it.", 0.9),
  reached: flag("Whether that share was watched.", true),
  isWaiting: flag("Whether it waits for the learning record store.", false),
  refusal: optionalText("Why the learning record store has refused it; null if it has not.", null),
};

/** A session whose end was not stated yet. */
const XAPI_SESSION = {
  sessionId: text("The id of the session.", "4c0e5f4e-5d43-4a76-9a0b-06ea43c53a10"),
  fileId: text("The file.", "demo-intro"),
  player: text("The session as the player named it; empty where it named none.", "s-1"),
  begunAt: instant("When it began."),
  stated: flag("Whether its beginning was stated.", true),
  seenAt: optionalInstant("When another player took over; null if none has."),
  lastWatched: optionalInstant("When the player was last seen then."),
  position: optionalNumber("Where it was then.", 12.5),
};

const account = z
  .object({
    username: optionalText("The name to sign in with.", "bob"),
    email: optionalText("The e-mail address.", "bob@example.org"),
    firstName: optionalText("The first name.", "Bob"),
    lastName: optionalText("The last name.", "Miller"),
    role: z.enum(ROLES).meta(doc("The role of the account.", "learner")),
    hasPassword: flag("Whether a password's hash is stored. It is in no export.", true),
    createdAt: instant("When the row was made."),
  })
  .nullable()
  .meta(doc("The account; null if nothing is stored that needs one."));

const profile = z
  .object({
    name: text("The name.", "Bob Miller"),
    source: z.enum(["profile", "claim"]).meta(doc("Whether a backend has put it, or a token has carried it.", "claim")),
    updatedAt: instant("When it last changed."),
  })
  .nullable()
  .meta(doc("The name that people know the user by, or null."));

const deletion = z
  .object({
    deletedAt: instant("When everything was deleted."),
    returnedAt: optionalInstant("When the user came back with a newer token."),
  })
  .nullable()
  .meta(doc("The last deletion of the user, or null."));

const FILE = {
  courseId,
  lessonId,
  fileId: text("The file.", "demo-intro"),
  title: text("The title in the catalogue of today.", "Introduction"),
  position: number("Where the player was last seen.", 8),
  duration: optionalNumber("The duration by which the row was computed; null while it is unknown.", 24),
  watched: z
    .array(z.tuple([z.number(), z.number()]).meta(doc("A watched part, half-open.", [0, 8])))
    .meta(doc("The union of all parts that were played, as it is stored.", [[0, 8]])),
  watchedSeconds: number("The length of `watched` up to the duration.", 8),
  watchTimeSeconds: number("The time spent, re-watching included.", 8),
  percentage: number("The larger of the watched and the reported share.", 33.33),
  reportedPercentage: number("What a legacy client has reported about itself.", 0),
  completed: flag("Whether the file is completed.", false),
  completionSource: optionalText("`auto`, `manual`, `waived` or `reported`; null if it is not completed.", null),
  firstAt: instant("When the first progress was stored."),
  lastWatched: optionalInstant("When the position was seen."),
  lastBeatAt: optionalInstant("When a heartbeat was last written."),
  updatedAt: instant("When the row last changed."),
  epoch: number("Every reset raises it.", 0),
  resetAt: optionalInstant("When it was last reset.", null),
  positionSession: optionalText("The session of the player that told the position.", "tab-1"),
  positionSeq: optionalNumber("The number of the heartbeat that told it.", 3),
  writerSession: optionalText("The session of the player that wrote last.", "tab-1"),
  writerSeq: optionalNumber("The number of its heartbeat.", 3),
  version,
};

const STREAM = {
  streamId: text("The stream.", "3b0a4f6e-98f4-4cdc-9a5c-19cd9d9a6b1e"),
  title: text("Its title.", "Office hours"),
  status: text("`ready`, `live`, `reconnecting`, `ended`, `expired`, `revoked` or `disabled`.", "ready"),
  keyPrefix: text("The first characters of the key, which itself is stored nowhere.", "phk_mV1x0c"),
  policy: text("`first_wins` or `takeover`.", "first_wins"),
  reconnectSeconds: optionalNumber("How long it waits for its encoder; null for the server's default.", null),
  expiresAt: optionalInstant("When the key ends.", null),
  startedAt: optionalInstant("When it last went live."),
  endedAt: optionalInstant("When it last ended."),
  createdAt: instant("When it was made."),
  updatedAt: instant("When it last changed."),
};

const STREAM_SESSION = {
  streamId: text("The stream.", "3b0a4f6e-98f4-4cdc-9a5c-19cd9d9a6b1e"),
  state: text("`reserved`, `live`, `reconnecting` or `ended`.", "ended"),
  server: text("The kind and name of the media server.", "srs:edge-1"),
  app: optionalText("The application on the media server.", "live"),
  clientIp: optionalText("The address of the encoder.", "192.0.2.7"),
  protocol: optionalText("How the encoder published.", "rtmp"),
  claimedAt: instant("When the encoder's last connection was admitted."),
  startedAt: optionalInstant("When it went live."),
  endedAt: optionalInstant("When the media ended."),
  endReason: optionalText("Why it ended.", "ended"),
  connections: number("How often the encoder connected.", 1),
  peakViewers: optionalNumber("The most viewers that were reported.", 12),
  meanBitrateKbps: optionalNumber("The mean of the reported bitrates.", 2500),
};

const EventValue = z.union([z.string(), z.number(), z.boolean(), z.null()]);

export const UserExport = z
  .object({
    userId: text("The user.", "bob"),
    exportedAt: instant("When the export was made."),
    account,
    profile,
    deletion,
    courses: list("The courses that were begun.", "The sums of a course.", { courseId, ...SUMS }),
    lessons: list("The lessons that were begun.", "The sums of a lesson.", { courseId, lessonId, ...SUMS }),
    files: list("The files that were begun, or reset.", "The progress of a file.", FILE),
    resets: list("Where files begin that have no progress.", "A reset mark.", {
      courseId: optionalText("The course; null for all courses.", "demo"),
      fileId: optionalText("The file; null for all files of the course.", null),
      epoch: number("The epoch of a file that begins.", 1),
      resetAt: instant("When it was reset."),
    }),
    activity: list("What happened to the user's progress.", "An entry of the activity log.", {
      ...ACTIVITY,
      secondsSpent: optionalNumber("The time that the user had spent in the file by then.", 8),
      byAnother: flag("Whether an instructor or an admin did it.", false),
    }),
    actions: list("What the user did to the progress of others, who are not named.", "An action.", ACTIVITY),
    teaches: list("The courses whose instructor the user is.", "A course.", {
      courseId,
      title: text("Its title.", "Demo course"),
    }),
    streams: list("The user's streams, without keys.", "A stream.", STREAM),
    webhookEvents: list(
      "What webhooks were told of the user in the last 30 days, or are about to be told.",
      "An event.",
      {
        eventId: text("The event.", "evt_019ab2c3d4e57f8091a2b3c4d5e6f708"),
        at: instant("When it happened."),
        type: text("The type of the event.", "completed"),
        data: z
          .record(z.string(), EventValue)
          .meta(doc("What is sent.", { userId: "bob", fileId: "demo-intro", courseId: "demo" })),
      },
    ),
    streamSessions: list("What was published on the user's streams.", "A session.", STREAM_SESSION),
    xapiStatements: list("What xAPI statements say of the user.", "A statement.", STATEMENT),
    xapiSessions: list("The user's sessions whose end was not stated yet.", "A session.", XAPI_SESSION),
  })
  .meta({ id: "UserExport", ...doc("Everything that is stored of a user, as of one moment.") });

export type UserExport = z.infer<typeof UserExport>;
