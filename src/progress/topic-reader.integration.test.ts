import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { createCatalogueStore } from "../catalogue/catalogue-store.ts";
import { createTopicReader } from "./topic-reader.ts";

/** An id with everything that a text array, or JSON, has to quote. */
const ODD_USER = 'o"d\\d, {u}\u2028é\u{1f600}';

describe("the reader of topics", () => {
  let database: TestDatabase;
  let reader: ReturnType<typeof createTopicReader>;

  beforeAll(async () => {
    database = await createTestDatabase();
    reader = createTopicReader(database);
    const file = (id: string, durationSeconds?: number) => ({
      id,
      title: id,
      ...(durationSeconds && { durationSeconds }),
    });
    await createCatalogueStore(database).put("c1", {
      title: "One",
      lessons: [{ id: "l1", title: "One", files: [file("f1", 60), file("f2")] }],
    });
    await database.query("INSERT INTO users (id) SELECT unnest($1::text[])", [["alice", ODD_USER]]);
    await database.query(
      `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, position_ms, watched, last_watched)
       SELECT u, f, 'l1', 'c1', 7000, '{[0,7000)}', '2026-11-01T10:00:00Z' FROM unnest($1::text[]) AS u, unnest($2::text[]) AS f`,
      [
        ["alice", ODD_USER],
        ["f1", "f2"],
      ],
    );
  });
  afterAll(() => database.drop());

  it("reads rows without ranges as it reads them with ranges, whatever their ids hold", async () => {
    const keys = ["alice", ODD_USER, "nobody"].flatMap((userId) =>
      ["f1", "f2", "f3"].map((id) => [userId, id] as const),
    );
    const full = await reader.files(keys);
    expect(full).toHaveLength(4);
    for (const row of full) expect(row).toMatchObject({ position: 7, watched: [[0, 7]] });
    const rows = JSON.parse(JSON.stringify(await reader.fileRows(keys))) as unknown[];
    expect(rows).toHaveLength(4);
    for (const { watched: _ranges, ...row } of full) expect(rows).toContainEqual(row);
  });

  it("reads the newest rows of a file first, for its snapshot", async () => {
    await database.query("UPDATE user_progress SET position_ms = 9000 WHERE user_id = 'alice' AND file_id = 'f1'");
    const rows = await reader.latestInFile("f1");
    expect(rows.map(({ userId, position }) => [userId, position])).toEqual([
      ["alice", 9],
      [ODD_USER, 7],
    ]);
    expect(await reader.latestInFile("nowhere")).toEqual([]);
  });

  it("reads nothing where no row is named", async () => {
    for (const read of [reader.files, reader.fileRows, reader.lessons, reader.courses])
      expect(await read([])).toEqual([]);
  });
});
