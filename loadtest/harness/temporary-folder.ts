import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onEnd } from "./cleanup.ts";

/** A folder for the data of one PostgreSQL; it goes when the run ends. */
export async function makeTemporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "playhead-loadtest-"));
  // The user `postgres` has to pass.
  await chmod(folder, 0o711);
  onEnd(() => rm(folder, { recursive: true, force: true, maxRetries: 5 }));
  return folder;
}
