import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { AppError } from "../errors.ts";

/*
 * The SQL of this version of Playhead. `migrations/NNNN_subject.sql` hold tables, indexes and constraints; each is
 * applied once, in the order of the numbers. `migrations/functions/<name>.sql` hold one function each, with its
 * triggers; a file is applied again whenever its text has changed.
 */

/** The same distance from src/db and from dist/db. */
const DIRECTORY = fileURLToPath(new URL("../../migrations", import.meta.url));

export interface SchemaFile {
  /** The file's name without `.sql`. */
  name: string;
  text: string;
  /** Of the text, in hex. */
  sha256: string;
}

export interface SchemaFiles {
  /** In the order of their numbers. */
  migrations: SchemaFile[];
  /** In the order of their names. */
  functions: SchemaFile[];
}

/**
 * Reads all files of a folder that is laid out like `migrations/`.
 * @throws where it or its folder `functions` is missing
 */
export async function readSchemaFiles(directory = DIRECTORY): Promise<SchemaFiles> {
  return {
    migrations: await readFiles(directory, /^\d{4}_.+\.sql$/),
    functions: await readFiles(join(directory, "functions"), /^[a-z_]+\.sql$/),
  };
}

/** The SHA-256 of a text, in hex. */
export function toSha256(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

async function readFiles(directory: string, pattern: RegExp): Promise<SchemaFile[]> {
  const names = await readdir(directory);
  return await Promise.all(
    names
      .filter((name) => pattern.test(name))
      .sort()
      .map(async (name) => {
        const text = await readFile(join(directory, name), "utf8");
        return { name: name.slice(0, -".sql".length), text, sha256: toSha256(text) };
      }),
  );
}

/** The failure of a file, with its line and everything that PostgreSQL says about it. */
export function toFileFailure(subject: string, { text }: SchemaFile, error: unknown): AppError {
  const { message, position, detail, hint, where } = error as Partial<pg.DatabaseError>;
  const place = position === undefined ? "" : ` at line ${text.slice(0, Number(position)).split("\n").length}`;
  const reason = [message, detail, hint, where].filter(Boolean).join(". ");
  return new AppError("internal", `${subject} failed${place}: ${reason}`, { cause: error });
}
