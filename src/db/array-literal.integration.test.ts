import fc from "fast-check";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { toPlainArray, toTextArray } from "./array-literal.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
});
afterAll(() => database.drop());

it("gives PostgreSQL exactly the texts of the array, whatever characters they hold", async () => {
  const text = fc.oneof(
    fc.string({ unit: "binary" }).filter((given) => !given.includes("\u0000")),
    fc.constantFrom("", "NULL", "null", "{}", '"', "\\", '\\"', "a,b", " ", "\n", "é😀"),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(fc.option(text)), async (values) => {
      const [row] = await database.query<{ given: unknown }>("SELECT to_jsonb($1::text[]) AS given", [
        toTextArray(values),
      ]);
      expect(row?.given).toEqual(values);
    }),
  );
});

it("gives PostgreSQL exactly the numbers and booleans of the array", async () => {
  const numbers = [0, -1, 2 ** 31 - 1, 0.5, 1e-7, null];
  const [row] = await database.query("SELECT to_jsonb($1::float8[]) AS numbers, to_jsonb($2::boolean[]) AS flags", [
    toPlainArray(numbers),
    toPlainArray([true, false, null]),
  ]);
  expect(row).toEqual({ numbers, flags: [true, false, null] });
});
