import { rm } from "node:fs/promises";
import type { TestProject } from "vitest/node";
import { buildServer } from "./built-server.ts";
import { copyDataFolder, prepareDataFolder } from "./data-folder.ts";
import { startPostgresIn, type TestPostgres } from "./postgres.ts";
import type {} from "./provided.ts";
import { chooseSeed } from "./random.ts";
import { removeLeftovers } from "./temporary-folder.ts";

/*
 * Makes what test files share: a build of the server, a prepared data folder, and a PostgreSQL with a migrated template
 * database that every test file clones. Several projects name this file and each loads it anew, so the shared state is
 * kept on the process.
 */

interface Shared {
  seed: number;
  preparedFolder: string;
  postgres: TestPostgres;
}
const holder = globalThis as { playheadShared?: { shared: Promise<Shared>; users: number } };

export async function setup(project: TestProject): Promise<void> {
  holder.playheadShared ??= { shared: prepare(), users: 0 };
  holder.playheadShared.users += 1;
  const { postgres, preparedFolder, seed } = await holder.playheadShared.shared;
  project.provide("postgresUrl", postgres.urlOf("postgres"));
  project.provide("preparedFolder", preparedFolder);
  project.provide("seed", seed);
}

export async function teardown(): Promise<void> {
  const held = holder.playheadShared;
  if (held === undefined) return;
  held.users -= 1;
  if (held.users > 0) return;
  delete holder.playheadShared;
  const { postgres, preparedFolder } = await held.shared;
  await postgres.stop();
  await rm(preparedFolder, { recursive: true, force: true });
}

async function prepare(): Promise<Shared> {
  const seed = chooseSeed();
  process.stdout.write(`TEST_SEED=${seed} repeats the random choices of this run\n`);
  await removeLeftovers();
  const [preparedFolder] = await Promise.all([prepareDataFolder(), buildServer()]);
  return { seed, preparedFolder, postgres: await startPostgresIn(await copyDataFolder(preparedFolder)) };
}
