import { setImmediate as nextTurn } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { AppError } from "../../errors.ts";
import { CourseTree } from "../../protocol/course.ts";
import { parseCourse } from "./parse-course.ts";

function toFiles(lesson: number, count: number) {
  return Array.from({ length: count }, (_, i) => ({ id: `f${lesson}-${i}`, title: "File", durationSeconds: 10 }));
}

function toCourse(filesOfLessons: number[]) {
  const lessons = filesOfLessons.map((count, i) => ({ id: `l${i}`, title: "Lesson", files: toFiles(i, count) }));
  return { title: "Course", acceptReported: true, unknown: 1, lessons };
}

async function issuesOf(input: unknown): Promise<unknown> {
  const error = await parseCourse(input).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(AppError);
  return (error as AppError).issues;
}

describe("a course in a body", () => {
  it.each([[[]], [[0]], [[1, 0, 2]], [[100]], [[250, 3, 99, 1, 400]]])(
    "with lessons of %j files is read as its schema reads it",
    async (files) => {
      const course = toCourse(files);
      expect(await parseCourse(course)).toEqual(CourseTree.parse(course));
    },
  );

  it("is refused with the places of its mistakes", async () => {
    const course = toCourse([3, 250]);
    (course.lessons[1]?.files[180] as { title: unknown }).title = 7;
    expect(await issuesOf(course)).toMatchObject([{ path: "lessons.1.files.180.title" }]);
    expect(await issuesOf({ ...toCourse([1]), lessons: [{ id: "l", title: "", files: 5 }] })).toMatchObject([
      { path: "lessons.0.title" },
      { path: "lessons.0.files" },
    ]);
  });

  it.each([
    ["file", { ...toCourse([2, 0]), lessons: [{ id: "l", title: "L", files: [...toFiles(0, 1), ...toFiles(0, 1)] }] }],
    ["lesson", { ...toCourse([]), lessons: [...toCourse([1]).lessons, ...toCourse([0]).lessons] }],
  ])("is refused where a %s id comes twice", async (_, course) => {
    expect(await issuesOf(course)).toMatchObject([{ path: "lessons" }]);
  });

  it("is read in turns with other work", async () => {
    let turns = 0;
    let isDone = false;
    const others = (async () => {
      while (!isDone) {
        turns += 1;
        await nextTurn();
      }
    })();
    await parseCourse(toCourse([1000, 1000]));
    isDone = true;
    await others;
    expect(turns).toBeGreaterThanOrEqual(20);
  });

  it("is not read further than to its first mistakes", async () => {
    const course = toCourse([200, 200]);
    let read = 0;
    for (const { files } of course.lessons) {
      for (const file of files) {
        Object.defineProperty(file, "title", {
          enumerable: true,
          get: () => {
            read += 1;
            return 7;
          },
        });
      }
    }
    await issuesOf(course);
    expect(read).toBeLessThanOrEqual(200);
  });
});
