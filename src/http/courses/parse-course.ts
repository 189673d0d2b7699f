import { setImmediate as nextTurn } from "node:timers/promises";
import { z } from "zod";
import { parseWire, toBadRequest } from "../../protocol/ack.ts";
import { CourseFile, CourseOutline, type CourseTree, DistinctCourse } from "../../protocol/course.ts";

/** How many files are checked in a turn of the event loop. Wrong ones cost ten times as much as right ones. */
const FILES_PER_TURN = 100;

const Files = z.array(CourseFile);

/**
 * Checks a course in turns with other work, and stops at the first mistakes.
 * @throws AppError `bad_request`
 */
export async function parseCourse(input: unknown): Promise<CourseTree> {
  const outline = parseWire(CourseOutline, input);
  const lessons: CourseTree["lessons"] = [];
  let checked = 0;
  for (const [index, lesson] of outline.lessons.entries()) {
    const files: CourseFile[] = [];
    while (files.length < lesson.files.length) {
      const end = files.length + FILES_PER_TURN - (checked % FILES_PER_TURN);
      const next = parseFiles(lesson.files.slice(files.length, end), { lesson: index, first: files.length });
      files.push(...next);
      checked += next.length;
      if (checked % FILES_PER_TURN === 0) await nextTurn();
    }
    lessons.push({ ...lesson, files });
  }
  return parseWire(DistinctCourse, { ...outline, lessons });
}

function parseFiles(files: unknown[], { lesson, first }: { lesson: number; first: number }): CourseFile[] {
  const result = Files.safeParse(files);
  if (result.success) return result.data;
  const issues = result.error.issues.map((issue) => {
    const [index, ...rest] = issue.path;
    return { ...issue, path: ["lessons", lesson, "files", first + Number(index), ...rest] };
  });
  throw toBadRequest(new z.ZodError(issues));
}
