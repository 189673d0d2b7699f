import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/*
 * The check that dependencies in src/ point one way. A part may import itself and every part in a lower row of its
 * table, types included. No file may import itself through others.
 */

/** The server, from the top down, as docs/architecture.md draws it. Two parts in one row do not import each other. */
const SERVER_ROWS = [
  ["main.ts"],
  ["cli", "server.ts"],
  ["gateway", "http", "workers"],
  ["progress", "live", "streams", "mirror"],
  ["auth", "catalogue"],
  ["db", "uws", "redis", "limits"],
  ["metrics", "config.ts"],
  ["protocol"],
  ["errors.ts", "logger.ts", "version.ts", "within-time.ts"],
  ["hide-stream-keys.ts"],
];
/** What runs elsewhere: in browsers, and inside media servers. */
const CLIENT_ROWS = [["dashboard", "rtmp"], ["client"], ["protocol"], ["errors.ts"]];
/** Parts that run in browsers: nothing of Node may reach them. */
const BROWSER_PARTS = ["client", "dashboard"];

const SOURCE = /(?<!\.test)\.tsx?$/;
const IMPORT = /^(?:import|export)\b[^;]*?\bfrom "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"/gm;

/** Every breach in the files of `root`, one sentence each. */
export function findBreaches(root: string): string[] {
  const imports = new Map<string, string[]>();
  const breaches: string[] = [];
  for (const path of readdirSync(root, { recursive: true, encoding: "utf8" }).filter((path) => SOURCE.test(path))) {
    const specifiers = [...readFileSync(join(root, path), "utf8").matchAll(IMPORT)].map(
      (m) => m[1] ?? m[2] ?? m[3] ?? "",
    );
    const targets = specifiers.filter((name) => name.startsWith(".")).map((name) => join(dirname(path), name));
    imports.set(path, targets);
    const part = partOf(path);
    for (const target of targets) {
      if (SOURCE.test(target) && !target.startsWith("..") && !mayImport(part, partOf(target)))
        breaches.push(`${path} imports ${target}: ${part} may not depend on ${partOf(target)}.`);
    }
    if (BROWSER_PARTS.includes(part) && !path.endsWith("vite.config.ts"))
      for (const name of specifiers.filter((name) => name.startsWith("node:")))
        breaches.push(`${path} imports ${name}: ${part} runs in browsers.`);
  }
  return [...breaches, ...findCycles(imports)];
}

function partOf(path: string): string {
  return path.split("/")[0] as string;
}

function mayImport(part: string, target: string): boolean {
  if (part === target) return true;
  const rows = CLIENT_ROWS.slice(0, 2).flat().includes(part) ? CLIENT_ROWS : SERVER_ROWS;
  const rowOf = (name: string) => rows.findIndex((row) => row.includes(name));
  return rowOf(part) !== -1 && rowOf(target) > rowOf(part);
}

/** One sentence for each import that closes a circle. */
function findCycles(imports: ReadonlyMap<string, string[]>): string[] {
  const cycles: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: string[]): void => {
    if (way.includes(path)) cycles.push(`${[...way.slice(way.indexOf(path)), path].join(" imports ")}: a circle.`);
    else if (!done.has(path)) for (const target of imports.get(path) ?? []) visit(target, [...way, path]);
    done.add(path);
  };
  for (const path of imports.keys()) visit(path, []);
  return cycles;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const breaches = findBreaches(fileURLToPath(new URL("../src", import.meta.url)));
  for (const breach of breaches) process.stderr.write(`${breach}\n`);
  if (breaches.length > 0) process.stderr.write(`The rows are in ${relative(process.cwd(), process.argv[1])}.\n`);
  process.exitCode = breaches.length > 0 ? 1 : 0;
}
