import { execFile, spawn } from "node:child_process";
import { readdir } from "node:fs/promises";
import { delimiter, join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { AppError } from "../../errors.ts";

/*
 * Finds and runs PostgreSQL's own pg_dump and pg_restore. pg_dump refuses a server newer than itself, so the first one
 * in the PATH often does not fit.
 */

const run = promisify(execFile);

/** Where packages put them beside the PATH: Debian, RHEL, Homebrew, a build from source. */
const FOLDERS_OF_VERSIONS = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr"];
const VERSIONED = /^(\d+|pgsql-\d+|postgresql@\d+|libpq)$/;
const FOLDERS = ["/usr/local/pgsql/bin"];

export interface PostgresTools {
  folder: string;
  /** As `pg_dump --version` prints it. */
  version: string;
}

export interface ToolSearch {
  /** The oldest that fit; null where none do. */
  tools: PostgresTools | null;
  /** Versions that are installed and older than the server. */
  tooOld: string[];
}

/**
 * Looks for tools of this major version or a later one.
 * @param folder the only folder to look in
 */
export async function findPostgresTools(major: number, folder?: string): Promise<ToolSearch> {
  const found: (PostgresTools & { major: number })[] = [];
  for (const candidate of folder === undefined ? await listFolders() : [folder]) {
    const version = await askVersion(join(candidate, "pg_dump"));
    if (version !== null && (await askVersion(join(candidate, "pg_restore"))) !== null) {
      found.push({ folder: candidate, version, major: Number.parseInt(version, 10) });
    }
  }
  const fitting = found.filter((tools) => tools.major >= major);
  // Prefer the version of the server: its pg_restore cannot read an archive of a later pg_dump.
  fitting.sort((a, b) => a.major - b.major);
  const [best] = fitting;
  return {
    tools: best === undefined ? null : { folder: best.folder, version: best.version },
    tooOld: [...new Set(found.filter((tools) => tools.major < major).map((tools) => tools.version))],
  };
}

/** Says which tools are missing, and how to install them. */
export function explainMissingTools({ tooOld }: ToolSearch, major: number): string {
  const found = tooOld.length === 0 ? "none is installed" : `installed is only ${tooOld.join(", ")}`;
  return (
    `pg_dump and pg_restore ${major} or newer are needed, ${found}. Debian, Ubuntu: apt-get install postgresql-client-${major} ` +
    `(from apt.postgresql.org); RHEL: dnf install postgresql${major}; macOS: brew install postgresql@${major}. ` +
    "Found in the PATH and where these packages put them, or named by --tools."
  );
}

/** Writes an archive of pg_dump. @throws AppError `unavailable` with pg_dump's own message */
export async function runPgDump(tools: PostgresTools, databaseUrl: string, output: Writable): Promise<void> {
  const { args, env } = toArguments(databaseUrl);
  const child = spawn(join(tools.folder, "pg_dump"), ["--format=custom", "--no-owner", "--no-privileges", ...args], {
    env,
    stdio: ["ignore", "pipe", "pipe"],
  });
  await Promise.all([watch(child, "pg_dump"), pipeline(child.stdout, output)]);
}

/**
 * Restores an archive in one transaction: a failure changes nothing.
 * @param clean whether tables and functions that the archive holds are dropped first
 * @throws AppError `unavailable` with pg_restore's own message
 */
export async function runPgRestore(
  tools: PostgresTools,
  databaseUrl: string,
  { input, clean }: { input: Readable; clean: boolean },
): Promise<void> {
  const { args, env } = toArguments(databaseUrl);
  const child = spawn(
    join(tools.folder, "pg_restore"),
    [
      ...["--no-owner", "--no-privileges", "--single-transaction", "--exit-on-error"],
      ...(clean ? ["--clean", "--if-exists"] : []),
      ...args,
    ],
    { env, stdio: ["pipe", "ignore", "pipe"] },
  );
  // Where pg_restore ends before it has read everything, its own message counts, not the broken pipe.
  await Promise.all([watch(child, "pg_restore"), pipeline(input, child.stdin).catch(() => undefined)]);
}

/** Passes the password in the environment: every user of the machine can read arguments. */
function toArguments(databaseUrl: string): { args: string[]; env: NodeJS.ProcessEnv } {
  const url = new URL(databaseUrl);
  const password = decodeURIComponent(url.password);
  url.password = "";
  return {
    args: [`--dbname=${url.href}`],
    env: { ...process.env, ...(password === "" ? {} : { PGPASSWORD: password }) },
  };
}

function watch(child: ReturnType<typeof spawn>, name: string): Promise<void> {
  let said = "";
  child.stderr?.setEncoding("utf8").on("data", (text: string) => {
    said += text;
  });
  return new Promise((resolve, reject) => {
    child.once("error", (cause) => reject(new AppError("unavailable", `${name} does not start`, { cause })));
    child.once("close", (code, signal) => {
      if (code === 0) resolve();
      else reject(new AppError("unavailable", `${name} ended with ${code ?? signal}: ${said.trim().slice(-4000)}`));
    });
  });
}

async function listFolders(): Promise<string[]> {
  const folders = [...(process.env.PATH ?? "").split(delimiter).filter(Boolean), ...FOLDERS];
  for (const parent of FOLDERS_OF_VERSIONS) {
    const names = await readdir(parent).catch(() => []);
    folders.push(...names.filter((name) => VERSIONED.test(name)).map((name) => join(parent, name, "bin")));
  }
  return [...new Set(folders)];
}

/** Returns `18.1` for `pg_dump (PostgreSQL) 18.1 (Debian 18.1-1.pgdg13+2)`; null where there is no such program. */
async function askVersion(path: string): Promise<string | null> {
  const answer = await run(path, ["--version"]).catch(() => null);
  return /\(PostgreSQL\) (\d+\S*)/.exec(answer?.stdout ?? "")?.[1] ?? null;
}
