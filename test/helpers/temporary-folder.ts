import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { findCluster, stopOrphan } from "../../src/db/embedded/postgres-cluster.ts";
import { processExists } from "../../src/db/embedded/process-info.ts";

const PREFIX = "playhead-test-";

/** A folder for the data of one PostgreSQL. Its name says whose it is: a run that was killed leaves it to the next. */
export async function makeTemporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), `${PREFIX}${process.pid}-`));
  // The user `postgres` has to pass.
  await chmod(folder, 0o711);
  return folder;
}

/** Stops and removes what test runs left that did not come to their end. */
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
