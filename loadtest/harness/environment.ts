import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { arch, availableParallelism, cpus, release, totalmem, type } from "node:os";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadPostgresBinaries } from "../../src/db/embedded/postgres-binaries.ts";
import { pickUws } from "../../src/uws/uws.ts";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** The machine, the versions and the commit of a run. */
export type Environment = Awaited<ReturnType<typeof describeEnvironment>>;

/** Call it before the first window: a commit during the run is not the code that was measured. */
export async function describeEnvironment() {
  const git = (...args: string[]) => readOutput("git", ["-C", ROOT, ...args]);
  const postgres = (await loadPostgresBinaries().catch(() => null))?.postgres;
  const osRelease = await readFile("/etc/os-release", "utf8").catch(() => "");
  const osName = /^PRETTY_NAME="?([^"\n]+)/m.exec(osRelease)?.[1] ?? "";
  // Every run changes the report, and the report is no source code.
  const changes = await git("status", "--porcelain", "--", ".", ":(exclude)loadtest/report");
  const uws = pickUws(Number(process.versions.node.split(".")[0]));
  /** By name; null if it is not installed. */
  const versions: Record<string, string | null> = {
    "Node.js": process.versions.node,
    PostgreSQL: postgres === undefined ? null : await readVersion(postgres),
    Redis: await readVersion("redis-server"),
    "Socket.IO": await readPackage("node_modules/socket.io/package.json", "version"),
    "uWebSockets.js": await readPackage(`node_modules/${uws}/package.json`, "version"),
    // The first run that needs soketi installs exactly this version.
    soketi: await readPackage("loadtest/contenders/soketi/package.json", "@soketi/soketi"),
  };
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    memoryGb: Math.round(totalmem() / 2 ** 30),
    os: [osName, `${type()} ${release()}`, arch()].filter(Boolean).join(", "),
    versions,
    commit: await git("rev-parse", "--short=10", "HEAD"),
    /** Whether the source differed from the commit; null without Git. */
    isModified: changes === null ? null : changes !== "",
  };
}

async function readVersion(program: string): Promise<string | null> {
  return /(\d+\.[\d.]+)/.exec((await readOutput(program, ["--version"])) ?? "")?.[1] ?? null;
}

/** The value of a key anywhere in a package.json. */
async function readPackage(path: string, key: string): Promise<string | null> {
  const text = await readFile(`${ROOT}/${path}`, "utf8").catch(() => "");
  return new RegExp(`"${key}": *"([^"]+)"`).exec(text)?.[1] ?? null;
}

async function readOutput(program: string, args: string[]): Promise<string | null> {
  return await run(program, args).then(
    ({ stdout }) => stdout.trim(),
    () => null,
  );
}
