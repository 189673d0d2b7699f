import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** A program that only tests need. */
export interface Tool {
  name: string;
  /** The Debian packages that have it. */
  aptPackages: string[];
  /** The names of its executable on different systems, the usual one first. */
  binaries: string[];
  /** Files that the program cannot do without. */
  files?: string[];
  /** The tests that need it, as in "for the tests of the pages". */
  neededFor: string;
}

/** nginx speaks RTMP only with this module. */
export const NGINX_RTMP_MODULE = "/usr/lib/nginx/modules/ngx_rtmp_module.so";

export const TOOLS = {
  chromium: {
    name: "Chromium",
    aptPackages: ["chromium"],
    binaries: ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable"],
    neededFor: "the tests of the pages",
  },
  nginx: {
    name: "nginx with its RTMP module",
    aptPackages: ["nginx", "libnginx-mod-rtmp"],
    binaries: ["nginx"],
    files: [NGINX_RTMP_MODULE],
    neededFor: "the tests of media servers",
  },
  ffmpeg: {
    name: "FFmpeg",
    aptPackages: ["ffmpeg"],
    binaries: ["ffmpeg"],
    neededFor: "the tests of media servers",
  },
  redis: {
    name: "Redis",
    aptPackages: ["redis-server"],
    binaries: ["redis-server"],
    neededFor: "the tests of several processes",
  },
  python: {
    name: "Python 3",
    aptPackages: ["python3"],
    binaries: ["python3"],
    neededFor: "the test of the example in Python",
  },
} as const satisfies Record<string, Tool>;

/** Programs that are used where they are installed, but not installed for the tests. */
export const OPTIONAL_TOOLS = {
  promtool: {
    name: "promtool",
    aptPackages: ["prometheus"],
    binaries: ["promtool"],
    neededFor: "a second opinion on the alert rules",
  },
} as const satisfies Record<string, Tool>;

/** The folders of servers, which are not in every user's PATH. */
const SYSTEM_FOLDERS = ["/usr/sbin", "/usr/local/sbin"];

/** The path of a tool's executable; null where the executable or a file that it needs is missing. */
export function findTool(tool: Tool): string | null {
  if (!(tool.files ?? []).every((path) => isThere(path, constants.R_OK))) return null;
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...SYSTEM_FOLDERS];
  const paths = tool.binaries.flatMap((binary) => folders.map((folder) => join(folder, binary)));
  return paths.find((path) => isThere(path, constants.X_OK)) ?? null;
}

/** The path of a tool's executable. @throws Error that says how to install it, where it is missing */
export function requireTool(tool: Tool): string {
  const path = findTool(tool);
  if (path === null) throw new Error(`${tool.name} is missing: apt-get install -y ${tool.aptPackages.join(" ")}`);
  return path;
}

function isThere(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}
