import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCluster, stopOrphan } from "../../src/db/embedded/postgres-cluster.ts";
import { processExists } from "../../src/db/embedded/process-info.ts";

const PREFIX = "playhead-test-";

/**
 * Makes an empty folder. The process id in its name lets the next run remove it, should this process be killed.
 */
export async function makeTemporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
  // PostgreSQL may run as the user `postgres`, who has to reach its data below this folder.
  await chmod(folder, 0o711);
  return folder;
}

/** Removes the folders of test runs that were killed, and stops the PostgreSQL that runs in them. */
export async function removeLeftovers(): Promise<void> {
  for (const name of await readdir(tmpdir())) {
    const pid = Number(new RegExp(`^${PREFIX}(\\d+)-`).exec(name)?.[1]);
    if (pid > 0 && !processExists(pid)) {
      const folder = join(tmpdir(), name);
      const orphan = await findCluster(join(folder, "postgres"));
      if (orphan !== null) {
        await stopOrphan(orphan.pid);
      }
      await rm(folder, { recursive: true, force: true });
    }
  }
}
