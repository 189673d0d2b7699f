import { execFile, execFileSync } from "node:child_process";
import { chmod, chown, mkdir, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { findPostgresUser } from "../../src/db/embedded/postgres-binaries.ts";

const run = promisify(execFile);
const BLOCK = Buffer.alloc(4096, 1);

/** A file system of a few MB in memory, which a test fills and empties. */
export interface SmallDisk {
  /** An empty folder on it, which PostgreSQL owns. */
  folder: string;
  /** Takes all the space that is left. */
  fill(): Promise<void>;
  /** Gives the space back. */
  makeRoom(): Promise<void>;
  /** Call it when nothing uses the disk any more. */
  remove(): Promise<void>;
}

/** Whether this process may mount a small disk. */
export async function maySmallDisk(): Promise<boolean> {
  return openSmallDisk(1).then(
    async (disk) => {
      await disk.remove();
      return true;
    },
    () => false,
  );
}

/** @throws where this process may not mount */
export async function openSmallDisk(megabytes: number): Promise<SmallDisk> {
  // Not a folder that the next run removes: it could not, if this one were killed with the disk mounted.
  const root = await mkdtemp(join(tmpdir(), "playhead-disk-"));
  try {
    await run("mount", ["-t", "tmpfs", "-o", `size=${megabytes}m`, "tmpfs", root]);
  } catch (error) {
    await rm(root, { recursive: true });
    throw error;
  }
  const unmount = ["umount", ["-l", root]] as const;
  const onExit = () => void execFileSync(...unmount);
  process.once("exit", onExit);
  await chmod(root, 0o711);
  const folder = join(root, "tables");
  const filler = join(root, "filler");
  await mkdir(folder, { mode: 0o711 });
  const user = await findPostgresUser();
  if (user !== null) await chown(folder, user.uid, user.gid);
  return {
    folder,
    async fill() {
      const file = await open(filler, "a");
      try {
        for (;;) await file.write(BLOCK);
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
      } finally {
        await file.close();
      }
    },
    makeRoom: () => rm(filler),
    async remove() {
      process.off("exit", onExit);
      await run(...unmount);
      await rm(root, { recursive: true, force: true });
    },
  };
}
