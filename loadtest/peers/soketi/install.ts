import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FOLDER = fileURLToPath(new URL(".", import.meta.url));
const TIMEOUT_MS = 90_000;

/** Installs soketi beside this file, once. @returns why there is none; null where there is */
export async function installSoketi(): Promise<string | null> {
  if (existsSync(`${FOLDER}node_modules/@soketi/soketi/package.json`)) return null;
  const said = await new Promise<string | null>((resolve) => {
    execFile(
      "npm",
      ["install", "--no-package-lock", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts"],
      { cwd: FOLDER, timeout: TIMEOUT_MS, encoding: "utf8" },
      (error, _stdout, stderr) => resolve(error === null ? null : (stderr.trim().split("\n").at(-1) ?? error.message)),
    );
  });
  return said === null ? null : `soketi could not be installed (npm install in loadtest/peers/soketi): ${said}`;
}
