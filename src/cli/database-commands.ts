import { createReadStream, createWriteStream } from "node:fs";
import { rename, rm, stat } from "node:fs/promises";
import type { Readable, Writable } from "node:stream";
import type { Command } from "commander";
import { type DumpResult, dumpDatabase, readServerMajor } from "../db/dump/dump-database.ts";
import { explainMissingTools, findPostgresTools, type PostgresTools } from "../db/dump/postgres-tools.ts";
import { restoreDatabase } from "../db/dump/restore-database.ts";
import { AppError } from "../errors.ts";
import { type CommandDatabase, withCommandDatabase } from "./command-database.ts";
import type { CommandParts } from "./command-parts.ts";

/*
 * `playhead db …`: dumps the whole database into a file, and restores it. Uses PostgreSQL's own tools if they are
 * installed in a version that fits, and otherwise does without them; a note says which way was taken.
 */

/** Stands for standard output or standard input, instead of a file. */
const STREAM = "-";

interface DumpOptions {
  /** False with `--no-tools`, a folder with `--tools`. */
  tools: boolean | string;
}

/** Adds `db` and its commands. */
export function addDatabaseCommands(program: Command, parts: CommandParts): void {
  const db = program.command("db").description("dump the whole database into a file, and restore it");
  db.command("dump")
    .description("write the whole database, as of one moment; servers may go on running")
    .argument("<file>", "the file to write; - for standard output")
    .option("--tools <folder>", "where pg_dump is (default: looked for)")
    .option("--no-tools", "do without pg_dump even if it is installed")
    .action((file: string, { tools }: DumpOptions) => dump(parts, file, tools));
  db.command("restore")
    .description("restore a dump, into a database without rows and without servers")
    .argument("<file>", "the file to read; - for standard input")
    .option("--tools <folder>", "where pg_restore is (default: looked for)")
    .option("--force", "delete the rows that the database has", false)
    .action((file: string, options: { tools?: string; force: boolean }) => restore(parts, file, options));
}

async function dump({ readSetting, note }: CommandParts, file: string, wish: boolean | string): Promise<void> {
  await withCommandDatabase(readSetting(), async (database) => {
    const tools = await pickTools(database, wish, note);
    const dumped = await writeTo(file, (output) => dumpDatabase(database, { output, tools }));
    note(`Dumped ${describe(dumped)}${file === STREAM ? "" : ` to ${file}, ${(await stat(file)).size} bytes`}.`);
  });
}

/** @throws AppError `unavailable` if a folder was named and has no tools that fit */
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
  { readSetting, note }: CommandParts,
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
      input.destroy(); // an unread input would keep the process alive
    }
  });
}

function describe(done: DumpResult): string {
  return done.by === "playhead" ? `${done.tables} tables with ${done.rows} rows` : `with ${done.by} ${done.version}`;
}

/** Writes the file under its own name only when it is complete. Only its owner may read it: it holds names and hashes. */
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
