import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import type { Command } from "commander";
import type { Config } from "../config.ts";
import { type DumpResult, dumpDatabase, readServerMajor } from "../db/dump/dump-database.ts";
import { explainMissingTools, findPostgresTools, type PostgresTools } from "../db/dump/postgres-tools.ts";
import { restoreDatabase } from "../db/dump/restore-database.ts";
import { AppError } from "../errors.ts";
import type { Logger } from "../logger.ts";
import { type CommandDatabase, withCommandDatabase } from "./command-database.ts";

/*
 * `playhead db …`: the whole database into a file, and back. With PostgreSQL's own tools where they are installed in a
 * version that fits, else without them; which of the two it was is told beside.
 */

/** In place of a file: standard output, or standard input. */
const STREAM = "-";

export interface DatabaseCommandParts {
  readSetting(): { config: Config; logger: Logger };
  /** What a person should know; standard output is the dump's where it is asked for there. */
  note(line: string): void;
}

interface DumpOptions {
  /** False with `--no-tools`, a folder with `--tools`. */
  tools: boolean | string;
}

/** Adds `db` and its commands. */
export function addDatabaseCommands(program: Command, parts: DatabaseCommandParts): void {
  const db = program.command("db").description("the whole database into a file, and back");
  db.command("dump")
    .description("write all there is, as of one moment; servers go on meanwhile")
    .argument("<file>", "where to; - for standard output")
    .option("--tools <folder>", "where pg_dump is (default: looked for)")
    .option("--no-tools", "do without pg_dump even where it is installed")
    .action((file: string, { tools }: DumpOptions) => dump(parts, file, tools));
  db.command("restore")
    .description("bring a dump back, into a database without rows and without servers")
    .argument("<file>", "where from; - for standard input")
    .option("--tools <folder>", "where pg_restore is (default: looked for)")
    .option("--force", "let go of what the database has", false)
    .action((file: string, options: { tools?: string; force: boolean }) => restore(parts, file, options));
}

async function dump({ readSetting, note }: DatabaseCommandParts, file: string, wish: boolean | string): Promise<void> {
  await withCommandDatabase(readSetting(), async (database) => {
    const tools = await pickTools(database, wish, note);
    const dumped = await writeTo(file, (output) => dumpDatabase(database, { output, tools }));
    note(`Dumped ${describe(dumped)}${file === STREAM ? "" : ` to ${file}, ${(await stat(file)).size} bytes`}.`);
  });
}

/** @throws AppError `unavailable` where a folder was named and has none that fit */
async function pickTools(
  database: CommandDatabase,
  wish: boolean | string,
  note: (line: string) => void,
): Promise<PostgresTools | null> {
  if (wish === false) return null;
  const major = await readServerMajor(database);
  const search = await findPostgresTools(major, typeof wish === "string" ? wish : undefined);
  if (search.tools !== null) return search.tools;
  if (typeof wish === "string") throw new AppError("unavailable", explainMissingTools(search, major));
  note(`Without pg_dump, in a format of Playhead's own. ${explainMissingTools(search, major)}`);
  return null;
}

async function restore(
  { readSetting, note }: DatabaseCommandParts,
  file: string,
  { tools: folder, force }: { tools?: string; force: boolean },
): Promise<void> {
  const setting = readSetting();
  await withCommandDatabase(setting, async (database) => {
    const input: Readable = file === STREAM ? process.stdin : createReadStream(file);
    const findTools = async () => {
      const major = await readServerMajor(database);
      const search = await findPostgresTools(major, folder);
      if (search.tools === null) {
        throw new AppError("unavailable", `pg_dump made this archive. ${explainMissingTools(search, major)}`);
      }
      return search.tools;
    };
    try {
      const { directUrl } = database;
      const restored = await restoreDatabase({ directUrl, input, force, findTools, logger: setting.logger });
      note(`Restored ${describe(restored)}.`);
    } finally {
      input.destroy(); // what was not read would keep the process
    }
  });
}

function describe(done: DumpResult): string {
  return done.by === "playhead" ? `${done.tables} tables with ${done.rows} rows` : `with ${done.by} ${done.version}`;
}

/** The file is there under its name only when it is whole. It holds hashes and names: nobody else may read it. */
async function writeTo<T>(file: string, write: (output: Writable) => Promise<T>): Promise<T> {
  if (file === STREAM) return await write(process.stdout);
  const unfinished = `${file}.unfinished`;
  try {
    const result = await write(createWriteStream(unfinished, { mode: 0o600 }));
    await rename(unfinished, file);
    return result;
  } catch (error) {
    await rm(unfinished, { force: true });
    throw error;
  }
}
