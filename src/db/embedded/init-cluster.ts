import { chown, mkdir, rename, rm, writeFile } from "node:fs/promises";
import { AppError } from "../../errors.ts";
import { waitForExit } from "./end-process.ts";
import { findPostgresUser, loadPostgresBinaries, postgresEnvironment, spawnPostgres } from "./postgres-binaries.ts";

/** The superuser of every cluster that `initCluster` makes. */
export const CLUSTER_USER = "playhead";

/**
 * Makes a data directory. It gets its name only when it is complete, so a crash leaves no half directory under this
 * name.
 * @param sync false where the data may be lost in a crash of the machine (tests)
 */
export async function initCluster(options: { directory: string; password: string; sync?: boolean }): Promise<void> {
  const { directory, password, sync = true } = options;
  const [{ initdb }, user] = await Promise.all([loadPostgresBinaries(), findPostgresUser()]);
  const unfinished = `${directory}.unfinished`;
  const passwordFile = `${directory}.password-for-initdb`;
  await rm(unfinished, { recursive: true, force: true });
  await mkdir(unfinished, { mode: 0o700 });
  await writeFile(passwordFile, `${password}\n`, { mode: 0o600 });
  try {
    if (user !== null) {
      await chown(unfinished, user.uid, user.gid);
      await chown(passwordFile, user.uid, user.gid);
    }
    const args = [
      `--pgdata=${unfinished}`,
      `--username=${CLUSTER_USER}`,
      `--pwfile=${passwordFile}`,
      "--auth=scram-sha-256",
      // Text sorts by code point on every machine, and upper() and lower() know all letters.
      "--encoding=UTF8",
      "--locale=C",
      "--locale-provider=builtin",
      "--builtin-locale=C.UTF-8",
      ...(sync ? [] : ["--no-sync"]),
    ];
    const child = await spawnPostgres(initdb, args, {
      user,
      directory: unfinished,
      env: postgresEnvironment(),
      stdio: ["ignore", "ignore", "pipe"],
    });
    let output = "";
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      output += text;
    });
    const { failure } = await waitForExit(child);
    if (failure !== null) {
      throw new AppError("unavailable", `The embedded PostgreSQL could not be set up (${failure}). ${output.trim()}`);
    }
    await rename(unfinished, directory);
  } finally {
    await rm(passwordFile, { force: true });
  }
}
