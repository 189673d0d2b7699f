import { fileURLToPath } from "node:url";
import { build } from "vite";

/** Builds the pages, and the client as one script, into dist/dashboard, once a run: two builds at a time would remove each other's files. */
export async function setup(): Promise<void> {
  for (const config of ["src/dashboard/vite.config.ts", "scripts/client-script.config.ts"]) {
    const configFile = fileURLToPath(new URL(`../../${config}`, import.meta.url));
    await build({ configFile, logLevel: "warn" });
  }
}
