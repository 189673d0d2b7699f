import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { toFloat8Array, toInt4Array, toInt8Array } from "./binary-array.ts";

let database: TestDatabase;
beforeAll(async () => {
  database = await createTestDatabase({ migrated: false });
});
afterAll(() => database.drop());

const same = (value: number | null) => value;

it("gives PostgreSQL exactly the numbers and nulls of the array", async () => {
  const int4 = [0, 1, -1, null, 2 ** 31 - 1, -(2 ** 31)];
  const int8 = [0, -1, null, 2 ** 32, -(2 ** 32) - 1, 4_294_967_295, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER];
  const float8 = [0.1, null, -1.5e300, Number.POSITIVE_INFINITY, 1_763_752_588.135991];
  const [row] = await database.query("SELECT $1::int4[] AS a, $2::int8[]::text[] AS b, $3::float8[] AS c", [
    toInt4Array(int4, same),
    toInt8Array(int8, same),
    toFloat8Array(float8, same),
  ]);
  expect(row).toEqual({ a: int4, b: int8.map((value) => (value === null ? null : String(value))), c: float8 });
});

it("gives PostgreSQL empty arrays", async () => {
  const [row] = await database.query("SELECT $1::int4[] AS a, cardinality($2::int8[]) AS b, $3::float8[] AS c", [
    toInt4Array([], same),
    toInt8Array([], same),
    toFloat8Array([], same),
  ]);
  expect(row).toEqual({ a: [], b: 0, c: [] });
});

it("refuses a value that is no whole number of its size", () => {
  for (const value of [0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 63]) {
    expect(() => toInt4Array([value], same)).toThrow(RangeError);
    expect(() => toInt8Array([value], same)).toThrow(RangeError);
  }
  expect(() => toInt4Array([2 ** 31], same)).toThrow(RangeError);
});
