import { randomBytes, randomUUID } from "node:crypto";
import { link, mkdir, readFile, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type pg from "pg";
import type { Config } from "../config.ts";

/*
 * The secret that signs built-in tokens. All processes share one. If several processes start at once, each tries to
 * store a new secret in one atomic step, and all of them then read the secret that was stored first.
 */

const FILE_NAME = "auth-secret";
const SETTING_NAME = "auth_secret";
/** HS256 wants a key no shorter than its hash: 32 bytes. */
const SECRET_BYTES = 48;
const MIN_SECRET_CHARACTERS = 32;

export interface AuthSecretSources {
  config: Pick<Config, "AUTH_SECRET" | "PLAYHEAD_DATA_DIR" | "embedded">;
  /** A migrated database. Not needed if AUTH_SECRET is set or the embedded PostgreSQL runs. */
  pool: pg.Pool | null;
}

/** Reads AUTH_SECRET; without it, the secret in the data folder (embedded PostgreSQL) or the database, made if missing. */
export async function loadAuthSecret({ config, pool }: AuthSecretSources): Promise<string> {
  if (config.AUTH_SECRET !== undefined) return config.AUTH_SECRET;
  if (config.embedded) return loadFromFolder(config.PLAYHEAD_DATA_DIR);
  if (pool === null)
    throw new Error("The secret of built-in tokens is kept in the database: set AUTH_SECRET, or DATABASE_URL.");
  return loadFromDatabase(pool);
}

async function loadFromFolder(folder: string): Promise<string> {
  const path = join(folder, FILE_NAME);
  const kept = await readIfThere(path);
  if (kept !== null) return assertLongEnough(kept, path);
  await mkdir(folder, { recursive: true, mode: 0o700 });
  // A link to a finished file: nobody reads half a secret, and of several links the first succeeds.
  const draft = `${path}.${randomUUID()}`;
  await writeFile(draft, `${makeSecret()}\n`, { mode: 0o600, flag: "wx" });
  try {
    await link(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
  } finally {
    await unlink(draft);
  }
  return assertLongEnough(await readFile(path, "utf8"), path);
}

async function loadFromDatabase(pool: pg.Pool): Promise<string> {
  await pool.query("insert into settings (name, value) values ($1, $2) on conflict (name) do nothing", [
    SETTING_NAME,
    makeSecret(),
  ]);
  const { rows } = await pool.query<{ value: string }>("select value from settings where name = $1", [SETTING_NAME]);
  return assertLongEnough(rows[0]?.value ?? "", `the row "${SETTING_NAME}" of the table settings`);
}

function makeSecret(): string {
  return randomBytes(SECRET_BYTES).toString("base64url");
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
}

function assertLongEnough(text: string, where: string): string {
  const secret = text.trim();
  if (secret.length >= MIN_SECRET_CHARACTERS) return secret;
  throw new Error(
    `The secret of built-in tokens in ${where} has ${secret.length} characters; it takes ${MIN_SECRET_CHARACTERS}. Delete it and a new one is made: everybody then signs in again.`,
  );
}
