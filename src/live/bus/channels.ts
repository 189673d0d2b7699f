/*
 * The names of the bus's channels. A process subscribes only to the channels that its own rooms and players need.
 */

const COURSE_PREFIX = "course:";
const USER_PREFIX = "user:";

export const channels = {
  /** Changes and viewers of one course. */
  course: (courseId: string) => `${COURSE_PREFIX}${courseId}`,
  /** Changes and viewers of one user, in all courses. */
  user: (userId: string) => `${USER_PREFIX}${userId}`,
  /** Says that any user's progress may have changed. */
  users: "users",
  /** Changes of all streams. */
  streams: "streams",
  /** Says that anything may have changed. */
  all: "all",
  /** Questions for figures that every process counts by itself. */
  sums: "sums",
  /** The relay's sign of life. */
  pulse: "pulse",
};

export function isUserChannel(channel: string): boolean {
  return channel.startsWith(USER_PREFIX);
}

/** The two kinds of channel in which viewers are told. */
export type PresenceKind = "course" | "user";

export function hasPresence(channel: string): boolean {
  return channel.startsWith(COURSE_PREFIX) || isUserChannel(channel);
}

/** Takes apart the name of a course's or of a user's channel. */
export function splitPresenceChannel(channel: string): [kind: PresenceKind, id: string] {
  return isUserChannel(channel)
    ? ["user", channel.slice(USER_PREFIX.length)]
    : ["course", channel.slice(COURSE_PREFIX.length)];
}
