import { expect, it } from "vitest";
import type { Role } from "../protocol/roles.ts";
import { isOwnCourse } from "./own-course.ts";

it.each<[Role, string | null, boolean]>([
  ["instructor", "ann", true],
  ["instructor", "bob", false],
  ["instructor", null, false],
  ["admin", "bob", true],
  ["admin", null, true],
  ["learner", "ann", false],
  ["learner", null, false],
])("tells whether ann as %s owns the course of the instructor %s", (role, instructorId, isOwn) => {
  expect(isOwnCourse({ userId: "ann", role }, { instructorId })).toBe(isOwn);
});
