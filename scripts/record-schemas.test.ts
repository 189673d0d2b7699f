import { expect, it } from "vitest";
import { readSchemaFiles } from "../src/db/schema-files.ts";
import { readRecordedSchemas } from "../test/helpers/earlier-schemas.ts";

it("has the numbered migrations of today in the fixture of the upgrade tests, each with the text that it had at first", async () => {
  const { migrations } = await readSchemaFiles();
  const today = Object.fromEntries(migrations.map(({ name, text }) => [name, text]));
  const recorded = (await readRecordedSchemas()).map((schema) => Object.fromEntries(schema.migrations));
  expect(
    recorded,
    "Restore the text of a migration that you edited. After a new one run `npx tsx scripts/record-schemas.ts`.",
  ).toContainEqual(today);
});
