import type { TestProject } from "vitest/node";
import type { TestPostgres } from "./postgres.ts";
import { startTemplatePostgres } from "./template-postgres.ts";
import { removeLeftovers } from "./temporary-folder.ts";

/*
 * One PostgreSQL for the run, with one migrated template database that every test file clones. Two projects
 * name this file and load it apart from each other, so what they share hangs on the process.
 */

declare module "vitest" {
  export interface ProvidedContext {
    /** The shared PostgreSQL's database `postgres`. */
    postgresUrl: string;
  }
}

interface Shared {
  postgres: Promise<TestPostgres>;
  users: number;
}
const holder = globalThis as { playheadTestPostgres?: Shared };

export async function setup(project: TestProject): Promise<void> {
  holder.playheadTestPostgres ??= { postgres: start(), users: 0 };
  holder.playheadTestPostgres.users += 1;
  project.provide("postgresUrl", (await holder.playheadTestPostgres.postgres).url);
}

export async function teardown(): Promise<void> {
  const shared = holder.playheadTestPostgres;
  if (shared !== undefined) {
    shared.users -= 1;
    if (shared.users === 0) {
      delete holder.playheadTestPostgres;
      await (await shared.postgres).stop();
    }
  }
}

async function start(): Promise<TestPostgres> {
  await removeLeftovers();
  return startTemplatePostgres();
}
