import { readFile, writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";

/*
 * Adds the uWebSockets.js binaries of other systems to the lock file. npm leaves out those that its registry does not offer,
 * and `npm ci` then refuses the file on every system. The added entries have no checksum, which `npm ci` takes. Run it after
 * an update of uWebSockets.js.
 */

export interface LockFile {
  packages: Record<string, { version?: string; optionalDependencies?: Record<string, string> }>;
}

/** As in `@uwsjs/linux-x64-20`; the number is the major version of Node. */
const BINARY = /^@uwsjs\/([a-z0-9]+)-([a-z0-9]+)-(\d+)$/;

/** The lock file with an entry for each binary, in npm's order. */
export function completeLockFile(lock: LockFile): LockFile {
  const packages = { ...lock.packages };
  for (const [path, { optionalDependencies = {} }] of Object.entries(lock.packages)) {
    for (const [name, version] of Object.entries(optionalDependencies)) {
      const [, os = "", cpu = "", node = ""] = BINARY.exec(name) ?? [];
      const top = `node_modules/${name}`;
      const nested = `${path}/${top}`;
      if (os === "" || packages[top]?.version === version || packages[nested] !== undefined) continue;
      packages[packages[top] === undefined ? top : nested] = toEntry({ version, os, cpu, node: Number(node) });
    }
  }
  return {
    ...lock,
    packages: Object.fromEntries(Object.entries(packages).sort(([a], [b]) => a.localeCompare(b, "en"))),
  };
}

function toEntry({ version, os, cpu, node }: { version: string; os: string; cpu: string; node: number }) {
  return {
    version,
    cpu: [cpu],
    ...(os === "linux" ? { libc: "glibc" } : {}),
    license: "Apache-2.0",
    optional: true,
    os: [os],
    engines: { node: `>=${node}.0.0 <${node + 1}.0.0` },
  };
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const path = new URL("../package-lock.json", import.meta.url);
  const completed = completeLockFile(JSON.parse(await readFile(path, "utf8")));
  await writeFile(path, `${JSON.stringify(completed, null, 2)}\n`);
}
