import { existsSync } from "node:fs";
import type { Subcommand } from "./harness/section.ts";

/** In the order of the page. */
export const NAMES = ["ingest", "fanout", "connections", "validate", "soak", "growth"] as const;

export async function loadSubcommands(): Promise<Subcommand[]> {
  const there = NAMES.filter((name) => existsSync(new URL(`./${name}/${name}.ts`, import.meta.url)));
  const modules = await Promise.all(there.map((name) => import(`./${name}/${name}.ts`)));
  return modules.map((module, i) => module[there[i] as string] as Subcommand);
}
