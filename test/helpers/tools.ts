import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** A program that only tests need. */
export interface Tool {
  name: string;
  /** The Debian package that has it. */
  aptPackage: string;
  /** The names it goes by, the usual one first. */
  binaries: string[];
  /** What needs it. */
  neededFor: string;
}

export const TOOLS = {
  chromium: {
    name: "Chromium",
    aptPackage: "chromium",
    binaries: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    neededFor: "the tests of the pages",
  },
} as const satisfies Record<string, Tool>;

/** The path of a tool's program; null where it is not installed. */
export function findTool(tool: Tool): string | null {
  const folders = (process.env.PATH ?? "").split(delimiter);
  const paths = tool.binaries.flatMap((binary) => folders.map((folder) => join(folder, binary)));
  return paths.find(isExecutable) ?? null;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
