import { AppError } from "../errors.ts";
import { isEarlierText, mayComeLate } from "./edited-migrations.ts";
import { readSchemaFiles, type SchemaFile, type SchemaFiles } from "./schema-files.ts";
import { type AppliedFiles, type Queryable, readApplied } from "./schema-records.ts";
import { isBeforeSquash } from "./squashed-migrations.ts";

/* Compares the SQL of this version with the SQL that the database has had. */

/** What `migrate` has still to do. */
export interface PendingSchema {
  /** Migrations that the database lacks, or has with an earlier text which `migrate` brings in line. */
  migrations: SchemaFile[];
  /** Functions that the database lacks, or has with another text. */
  functions: SchemaFile[];
  /** Names of functions that the database has and this version has not. */
  goneFunctions: string[];
}

/**
 * Finds what `migrate` has still to do. Works on an empty database too.
 * @throws AppError `conflict` naming the migration that this version cannot build on
 */
export async function findPending(database: Queryable, files: SchemaFiles): Promise<PendingSchema> {
  const recorded = await readApplied(database, "schema_migrations");
  const migrations: AppliedFiles = isBeforeSquash(recorded) ? new Map() : recorded;
  assertNoConflict(files.migrations, migrations);
  const functions = await readApplied(database, "schema_functions");
  const known = new Set(files.functions.map(({ name }) => name));
  return {
    migrations: files.migrations.filter(({ name, sha256 }) => migrations.get(name) !== sha256),
    functions: files.functions.filter(({ name, sha256 }) => functions.get(name) !== sha256),
    goneFunctions: [...functions.keys()].filter((name) => !known.has(name)),
  };
}

/** Whether the database has exactly the tables and functions of this version. */
export function isCurrent({ migrations, functions, goneFunctions }: PendingSchema): boolean {
  return migrations.length + functions.length + goneFunctions.length === 0;
}

/** A check for `/readyz`: whether the database has the tables and functions of this version. Reads the files once. */
export function createSchemaCheck(database: Queryable): () => Promise<{ ok: boolean }> {
  const reading = readSchemaFiles();
  reading.catch(() => undefined); // The check itself fails with it.
  return async () => ({ ok: isCurrent(await findPending(database, await reading)) });
}

function assertNoConflict(files: readonly SchemaFile[], applied: AppliedFiles): void {
  const refuse = (names: readonly string[], problem: (list: string) => string): void => {
    if (names.length > 0) throw new AppError("conflict", problem(names.join(", ")));
  };
  const known = new Set(files.map(({ name }) => name));
  refuse(
    [...applied.keys()].filter((name) => !known.has(name)),
    (list) =>
      `Another version of Playhead made this database: this version has no migration ${list}. ` +
      "Start the version that made it, or name another database in DATABASE_URL.",
  );
  const last = [...applied.keys()].at(-1) ?? "";
  refuse(
    files.map(({ name }) => name).filter((name) => name < last && !applied.has(name) && !mayComeLate(name, last)),
    (list) =>
      `The migration ${list} has a number below ${last}, which this database has already had. Give it the next free number.`,
  );
  refuse(
    files
      .filter(({ name, sha256 }) => {
        const recorded = applied.get(name) ?? sha256;
        return recorded !== sha256 && !isEarlierText(name, recorded);
      })
      .map(({ name }) => name),
    (list) =>
      `The text of the migration ${list} has changed since this database had it. ` +
      "Start the version of Playhead that has the earlier text, and write the change as a migration of its own.",
  );
}
