import { accessSync, constants } from "node:fs";
import { delimiter, join } from "node:path";

/** A program that only tests need. */
export interface Tool {
  name: string;
  /** The Debian packages that have it. */
  aptPackages: string[];
  /** The names it goes by, the usual one first. */
  binaries: string[];
  /** What else has to be there: the program is nothing without it. */
  files?: string[];
  /** What needs it. */
  neededFor: string;
}

/** Without this module nginx knows no RTMP. */
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
} as const satisfies Record<string, Tool>;

/** Not installed for the tests: what they would add is no more than a second opinion. */
export const OPTIONAL_TOOLS = {
  promtool: {
    name: "promtool",
    aptPackages: ["prometheus"],
    binaries: ["promtool"],
    neededFor: "a second opinion on the alert rules",
  },
} as const satisfies Record<string, Tool>;

/** Where servers are installed; not in every user's PATH. */
const SYSTEM_FOLDERS = ["/usr/sbin", "/usr/local/sbin"];

/** The path of a tool's program; null where it, or what it needs, is not installed. */
export function findTool(tool: Tool): string | null {
  if (!(tool.files ?? []).every((path) => isThere(path, constants.R_OK))) return null;
  const folders = [...(process.env.PATH ?? "").split(delimiter), ...SYSTEM_FOLDERS];
  const paths = tool.binaries.flatMap((binary) => folders.map((folder) => join(folder, binary)));
  return paths.find((path) => isThere(path, constants.X_OK)) ?? null;
}

/** @throws Error that says how to install it */
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
