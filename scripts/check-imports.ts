import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

/*
 * Checks that the dependencies in src/ point one way. A part is a folder, or a file, directly in src/. It may import itself
 * and the parts in lower rows, types included. Parts in one row do not import each other, nor do two files.
 */

/** The server, from the top down, as docs/architecture.md draws it. */
const SERVER_ROWS = [
  ["main.ts"], // the command line
  ["cli", "server.ts"], // its commands, and the composition root
  ["gateway", "http", "workers"], // the ways in: sockets, HTTP; several processes
  ["progress", "live", "streams", "people", "webhooks", "xapi", "mirror"], // the subjects
  ["auth", "catalogue"], // who is calling, and what there is to watch
  ["db", "redis", "uws", "limits"], // the ground that subjects stand on
  ["metrics", "config.ts"], // imported everywhere above, mostly for types
  ["protocol"], // the wire
  ["errors.ts", "guard.ts"],
  ["logger.ts", "version.ts", "within-time.ts"],
  ["hide-stream-keys.ts"],
];
/** The parts that run outside the server: in browsers, and inside media servers. */
const CLIENT_ROWS = [["dashboard", "rtmp"], ["client"], ["protocol"], ["errors.ts"]];
/** The parts that run in browsers, and so must not import Node's modules. */
const BROWSER_PARTS = ["client", "dashboard"];

const SOURCE = /(?<!\.test)\.tsx?$/;
const IMPORT = /^(?:import|export)\b[^;]*?\bfrom "([^"]+)"|\bimport\("([^"]+)"\)|^import "([^"]+)"/gm;

/** Finds every breach in the files below `root`, and describes each in a sentence. */
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

/** Describes each import that closes a circle. */
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
