import type { Role } from "../protocol/roles.ts";
import type { CourseFacts } from "./catalogue.ts";

/** Whether the course is the caller's own: every course is an admin's, none is a learner's. */
export function isOwnCourse(
  caller: { userId: string; role: Role },
  { instructorId }: Pick<CourseFacts, "instructorId">,
): boolean {
  return caller.role === "admin" || (caller.role === "instructor" && instructorId === caller.userId);
}
