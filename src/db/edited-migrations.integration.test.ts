import { PassThrough } from "node:stream";
import { expect, it, onTestFinished } from "vitest";
import { createEarlierDatabase } from "../../test/helpers/earlier-database.ts";
import { readRecordedSchemas } from "../../test/helpers/earlier-schemas.ts";
import { createLogger } from "../logger.ts";
import { dumpDatabase } from "./dump/dump-database.ts";
import { isEarlierText } from "./edited-migrations.ts";
import { migrate } from "./migrate.ts";
import { readSchemaFiles, toSha256 } from "./schema-files.ts";
import { findPending } from "./schema-state.ts";

it("counts a migration as pending while its earlier text is recorded, and makes no dump until it is brought in line", async () => {
  const schemas = await readRecordedSchemas();
  const edited = schemas.filter(({ functions, migrations }) => {
    return functions.size > 0 && [...migrations].some(([name, text]) => isEarlierText(name, toSha256(text)));
  });
  expect(edited).toHaveLength(2);
  for (const schema of edited) {
    const database = await createEarlierDatabase(schema);
    onTestFinished(() => database.drop());
    const listPending = async () => {
      const { migrations } = await findPending(database.pool, await readSchemaFiles());
      return migrations.map(({ name }) => name).filter((name) => schema.migrations.has(name));
    };
    const pending = await listPending();
    expect(pending).toHaveLength(1);
    const dumping = dumpDatabase({ directUrl: database.url }, { output: new PassThrough(), tools: null });
    await expect(dumping).rejects.toThrow("Run `playhead migrate` first");
    const { migrations } = await migrate({ connectionString: database.url, logger: createLogger({ level: "silent" }) });
    expect(migrations.slice(0, 1)).toEqual(pending);
    expect(await listPending()).toEqual([]);
  }
});
