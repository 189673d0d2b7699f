import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { arch, availableParallelism, cpus, release, totalmem, type } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { loadPostgresBinaries } from "../../src/db/embedded/postgres-binaries.ts";
import { pickUws } from "../../src/uws/uws.ts";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** Where and with what a section was measured. */
export interface Environment {
  cores: number;
  cpu: string;
  memoryGb: number;
  os: string;
  /** By name; null where it is not installed. */
  versions: Record<string, string | null>;
  commit: string | null;
  /** Whether the source differed from the commit. Null where that is not known. */
  isModified: boolean | null;
}

/** Looked up before the measuring: a commit made meanwhile is not what was measured. */
export async function describeEnvironment(): Promise<Environment> {
  const uws = pickUws(Number(process.versions.node.split(".")[0]));
  const [postgres, redis, socketIo, uwsVersion, soketi, os, commit, isModified] = await Promise.all([
    readPostgresVersion(),
    readOutput("redis-server", ["--version"]).then((text) => /v=(\S+)/.exec(text ?? "")?.[1] ?? null),
    readPackageVersion(join(ROOT, "node_modules/socket.io")),
    readPackageVersion(join(ROOT, "node_modules", uws)),
    readSoketiVersion(),
    readOsName(),
    readOutput("git", ["-C", ROOT, "rev-parse", "--short=10", "HEAD"]),
    // The report changes with every run; it is not what is measured.
    readOutput("git", ["-C", ROOT, "status", "--porcelain", "--", ".", ":(exclude)loadtest/report"]),
  ]);
  return {
    cores: availableParallelism(),
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    memoryGb: Math.round(totalmem() / 2 ** 30),
    os,
    versions: {
      "Node.js": process.versions.node,
      PostgreSQL: postgres,
      Redis: redis,
      "Socket.IO": socketIo,
      "uWebSockets.js": uwsVersion,
      soketi,
    },
    commit,
    isModified: isModified === null ? null : isModified !== "",
  };
}

async function readPostgresVersion(): Promise<string | null> {
  const binaries = await loadPostgresBinaries().catch(() => null);
  if (binaries === null) return null;
  const text = await readOutput(binaries.postgres, ["--version"]);
  return /(\d[\d.]*)/.exec(text ?? "")?.[1] ?? null;
}

async function readPackageVersion(folder: string): Promise<string | null> {
  const text = await readFile(join(folder, "package.json"), "utf8").catch(() => null);
  return text === null ? null : (JSON.parse(text) as { version: string }).version;
}

/** Installed when it is first needed, and then exactly as its package.json says. */
async function readSoketiVersion(): Promise<string | null> {
  const text = await readFile(join(ROOT, "loadtest/peers/soketi/package.json"), "utf8").catch(() => null);
  if (text === null) return null;
  return (JSON.parse(text) as { dependencies: Record<string, string> }).dependencies["@soketi/soketi"] ?? null;
}

async function readOsName(): Promise<string> {
  const text = await readFile("/etc/os-release", "utf8").catch(() => "");
  const name = /^PRETTY_NAME="?([^"\n]+)/m.exec(text)?.[1];
  return [name, `${type()} ${release()}`, arch()].filter((part) => part !== undefined).join(", ");
}

async function readOutput(program: string, args: string[]): Promise<string | null> {
  return await run(program, args).then(
    ({ stdout }) => stdout.trim(),
    () => null,
  );
}
