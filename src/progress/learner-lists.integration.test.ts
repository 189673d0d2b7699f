import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { LearnersQuestion } from "../protocol/learners.ts";
import { createLearnerLists, type LearnerLists } from "./learner-lists.ts";

let database: TestDatabase;
let lists: LearnerLists;

/** Id, name and seconds watched of 100, and days since then; a learner without days has only a row that a reset made. */
const LEARNERS: [id: string, name: string | null, watched: number, daysAgo: number | null][] = [
  ["u1", "Zoë Adams", 100, 1],
  ["u2", "Ärne", 20, 40],
  ["u3", "adam", 20, 2],
  ["u4", null, 0, null],
  ["u5", "100%_\\ sure", 60, 3],
];

beforeAll(async () => {
  database = await createTestDatabase();
  lists = createLearnerLists(database);
  const file = (id: string) => ({ id, title: `File ${id}`, durationSeconds: 100 });
  const store = createCatalogueStore(database);
  await store.put("c", { title: "Course", lessons: [{ id: "l", title: "Lesson", files: [file("f")] }] });
  await store.put("d", { title: "Other", lessons: [{ id: "m", title: "More", files: [file("g"), file("h")] }] });
  for (const [id, name, watched, daysAgo] of LEARNERS) {
    await database.query("INSERT INTO users (id) VALUES ($1)", [id]);
    if (name !== null) await database.query("INSERT INTO user_profiles VALUES ($1, $2, 'claim')", [id, name]);
    await database.query(
      `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, watched, last_watched)
       VALUES ($1, 'f', 'l', 'c', $2, now() - make_interval(days => $3))`,
      [id, watched > 0 ? `{[0,${watched * 1000})}` : "{}", daysAgo],
    );
  }
  await database.query("INSERT INTO users (id, username) VALUES ('u6', 'sixth')");
  await database.query(
    `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, watched, last_watched) VALUES
     ('u6', 'h', 'm', 'd', '{}', now()), ('u1', 'g', 'm', 'd', '{[0,5000)}', now()), ('u1', 'h', 'm', 'd', '{[0,9000)}', now() - interval '1 h')`,
  );
});
afterAll(() => database.drop());

async function idsOf(question: object): Promise<string[]> {
  const ids: string[] = [];
  let after: string | undefined;
  // Pages of two show that each begins where the one before ended.
  do {
    const page = await lists.learners("c", LearnersQuestion.parse({ limit: 2, ...question, after }));
    if (after === undefined) expect(page.total).toBeGreaterThanOrEqual(page.learners.length);
    else expect(page).not.toHaveProperty("total");
    ids.push(...page.learners.map(({ userId }) => userId));
    after = page.next;
  } while (after !== undefined);
  return ids;
}

describe("the list of a course's learners", () => {
  it.each([
    [{}, ["u1", "u2", "u3", "u4", "u5"]],
    [{ order: "desc" }, ["u5", "u4", "u3", "u2", "u1"]],
    [{ sort: "name" }, ["u4", "u5", "u3", "u2", "u1"]],
    [{ sort: "percentage" }, ["u4", "u2", "u3", "u5", "u1"]],
    [{ sort: "percentage", order: "desc" }, ["u1", "u5", "u3", "u2", "u4"]],
    [{ sort: "lastWatched", order: "desc" }, ["u1", "u3", "u5", "u2", "u4"]],
    [{ sort: "lastWatched" }, ["u4", "u2", "u5", "u3", "u1"]],
  ])("is ordered as asked by %o, over its pages", async (question, ids) => {
    expect(await idsOf(question)).toEqual(ids);
  });

  it.each([
    [{ search: "AD" }, ["u1", "u3"]],
    [{ search: "äRN" }, ["u2"]],
    [{ search: "zoË" }, ["u1"]],
    [{ search: "U4" }, ["u4"]],
    [{ search: "%_\\ " }, ["u5"]],
    [{ search: "_" }, ["u5"]],
    [{ search: " " }, ["u1", "u2", "u3", "u4", "u5"]],
    [{ search: "nobody" }, []],
    [{ state: "completed" }, ["u1"]],
    [{ state: "in_progress" }, ["u2", "u3", "u4", "u5"]],
    [{ below: "60" }, ["u2", "u3", "u4"]],
    [{ inactiveDays: "7" }, ["u2", "u4"]],
    [{ inactiveDays: "7", sort: "lastWatched", order: "desc", below: "50", search: "u" }, ["u2", "u4"]],
    [{ userId: "u3" }, ["u3"]],
    [{ userId: ["u2", "u9", "u1"] }, ["u1", "u2"]],
  ])("is filtered by %o", async (question, ids) => {
    expect(await idsOf(question)).toEqual(ids);
  });

  it("says how many learners the filters leave, and the name of each", async () => {
    const page = await lists.learners(
      "c",
      LearnersQuestion.parse({ limit: 1, below: 60, sort: "name", order: "desc" }),
    );
    expect(page).toMatchObject({
      total: 3,
      learners: [{ userId: "u2", name: "Ärne", percentage: 20, completedFiles: 0 }],
    });
  });

  it("refuses a cursor that is none of this list", async () => {
    const byName = await lists.learners("c", LearnersQuestion.parse({ limit: 1, sort: "name", order: "desc" }));
    for (const after of ["rubbish", Buffer.from('{"value":"\\u0000","id":"x"}').toString("base64url"), byName.next]) {
      const question = LearnersQuestion.parse({ sort: "lastWatched", after });
      await expect(lists.learners("c", question)).rejects.toMatchObject({ code: "bad_request" });
    }
  });
});

describe("the lists of lessons and files", () => {
  it("page through all learners, with their names", async () => {
    const first = await lists.lessonLearners("m", { limit: 1 });
    expect(first).toMatchObject({ learners: [{ userId: "u1", lessonId: "m", name: "Zoë Adams" }], next: "u1" });
    const second = await lists.lessonLearners("m", { limit: 1, after: "u1" });
    expect(second).toMatchObject({ learners: [{ userId: "u6", name: "sixth" }] });
    expect(second).not.toHaveProperty("next");
  });

  it("page through the learners of a file, without the watched ranges", async () => {
    const { learners } = await lists.fileLearners("f", { limit: 3, after: "u1" });
    expect(learners).toMatchObject([
      { userId: "u2", watchedSeconds: 20, name: "Ärne" },
      { userId: "u3", percentage: 20, name: "adam" },
      { userId: "u4", lastWatched: null, name: null },
    ]);
    expect(learners[0]).not.toHaveProperty("watched");
  });
});

describe("the list of one's own files", () => {
  it("begins with what was watched last, over all courses", async () => {
    const files: unknown[] = [];
    let after: string | undefined;
    do {
      const page = await lists.ownFiles("u1", { limit: 1, ...(after === undefined ? {} : { after }) });
      files.push(...page.files.map(({ fileId }) => fileId));
      after = page.next;
    } while (after !== undefined);
    expect(files).toEqual(["g", "h", "f"]);
  });

  it("names what to continue, with titles, and leaves out what is completed, retired or untouched", async () => {
    const open = await lists.ownFiles("u1", { limit: 20, state: "in_progress" });
    expect(open.files).toMatchObject([
      { fileId: "g", title: "File g", lessonTitle: "More", courseTitle: "Other", watched: [[0, 5]] },
      { fileId: "h" },
    ]);
    expect(await lists.ownFiles("u1", { limit: 20, state: "completed" })).toMatchObject({ files: [{ fileId: "f" }] });
    expect(await lists.ownFiles("u1", { limit: 20, courseId: "c" })).toMatchObject({ files: [{ fileId: "f" }] });
    expect(await lists.ownFiles("u4", { limit: 20 })).toEqual({ files: [] });
    await createCatalogueStore(database).put("d", { title: "Other", lessons: [] });
    expect(await lists.ownFiles("u1", { limit: 20, state: "in_progress" })).toEqual({ files: [] });
  });
});
