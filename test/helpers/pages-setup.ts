import { fileURLToPath } from "node:url";
import { build } from "vite";

/** Builds the pages into dist/dashboard, once a run: two builds at a time would remove each other's files. */
export async function setup(): Promise<void> {
  const configFile = fileURLToPath(new URL("../../src/dashboard/vite.config.ts", import.meta.url));
  await build({ configFile, logLevel: "warn" });
}
