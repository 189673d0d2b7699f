import { randomUUID } from "node:crypto";
import { link, readFile, rename, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "../../errors.ts";
import { processStartMark } from "./process-info.ts";

/*
 * Lets one Playhead at a time use a data folder. The lock file names its owner by pid and start time, so another
 * process with the same pid does not count as the owner. An owner on another host (two containers with one volume)
 * cannot be examined from here; it touches the file as long as it lives.
 */

const TOUCH_MS = 2000;
/** As long as several touches: a busy host may miss one. */
const FOREIGN_SILENCE_MS = 10_000;

interface Owner {
  pid: number;
  host: string;
  startMark: string | null;
}

export interface DataFolderLock {
  release(): Promise<void>;
}

/** @throws AppError `conflict` naming the owner that lives, and what to do */
export async function lockDataFolder(dataDir: string): Promise<DataFolderLock> {
  const path = join(dataDir, "playhead.lock");
  const mine = JSON.stringify({ pid: process.pid, host: hostname(), startMark: await processStartMark(process.pid) });
  const draft = `${path}.${randomUUID()}`;
  // The draft is complete before it gets the name of the lock, so nobody reads half a lock.
  await writeFile(draft, mine, { mode: 0o600 });
  try {
    while (!(await linkIfAbsent(draft, path))) {
      const held = await readFile(path, "utf8").catch(() => null);
      if (held !== null) {
        await refuseIfAlive(held, path, dataDir);
        await removeStale(path, held);
      }
    }
  } finally {
    await rm(draft, { force: true });
  }
  const touching = setInterval(() => {
    const now = new Date();
    // This fails only where the folder is gone: then there is nothing to protect.
    utimes(path, now, now).catch(() => undefined);
  }, TOUCH_MS);
  touching.unref();
  return {
    async release() {
      clearInterval(touching);
      if ((await readFile(path, "utf8").catch(() => null)) === mine) {
        await rm(path, { force: true });
      }
    },
  };
}

async function linkIfAbsent(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") {
      return false;
    }
    throw error;
  }
}

async function refuseIfAlive(text: string, path: string, dataDir: string): Promise<void> {
  const owner = parseOwner(text);
  if (owner === null) {
    return;
  }
  const local = owner.host === hostname();
  const alive = local
    ? owner.startMark !== null && (await processStartMark(owner.pid)) === owner.startMark
    : await isTouched(path);
  if (alive) {
    throw new AppError(
      "conflict",
      `Another Playhead (pid ${owner.pid}${local ? "" : ` on ${owner.host}`}) runs with the data folder ${dataDir}. ` +
        "Stop it first, give this one a folder of its own (PLAYHEAD_DATA_DIR), " +
        "or set DATABASE_URL so that several share one database.",
    );
  }
}

function parseOwner(text: string): Owner | null {
  try {
    return JSON.parse(text) as Owner;
  } catch {
    return null;
  }
}

/** Whether somebody touches the file. Waits for a change, because the clocks of two hosts differ. */
async function isTouched(path: string): Promise<boolean> {
  const modified = () =>
    stat(path).then(
      (found) => found.mtimeMs,
      () => null,
    );
  const before = await modified();
  const deadline = performance.now() + FOREIGN_SILENCE_MS;
  while (performance.now() < deadline) {
    await delay(250);
    const now = await modified();
    if (now !== before) {
      return now !== null;
    }
  }
  return false;
}

/** Removes a stale lock. Where another start has just replaced it by its own lock, puts that back. */
async function removeStale(path: string, stale: string): Promise<void> {
  const aside = `${path}.${randomUUID()}`;
  try {
    await rename(path, aside);
  } catch {
    return;
  }
  if ((await readFile(aside, "utf8")) !== stale) {
    await linkIfAbsent(aside, path);
  }
  await rm(aside, { force: true });
}
