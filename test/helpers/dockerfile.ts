import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { cp, mkdir, readdir } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { promisify } from "node:util";

/*
 * Follows the Dockerfile without Docker: each stage is a folder, and its commands run on this machine. That shows which
 * files the image has and whether they build. It does not show the base image, nor the user that a command runs as.
 */

const run = promisify(execFile);
const ROOT = join(import.meta.dirname, "../..");

interface Instruction {
  name: string;
  rest: string;
}

export interface BuiltImage {
  /** The working folder of the last stage. */
  folder: string;
  env: Record<string, string>;
  /** The words of the commands that HEALTHCHECK and ENTRYPOINT name. */
  healthcheck: string[];
  entrypoint: string[];
}

/** Builds each stage in a folder below this one. */
export async function buildImage(folder: string): Promise<BuiltImage> {
  const image: BuiltImage = { folder: "", env: {}, healthcheck: [], entrypoint: [] };
  for (const { name, rest } of readInstructions()) {
    switch (name) {
      case "FROM":
        image.folder = await startStage(folder, rest);
        break;
      case "COPY":
        await copy(folder, image.folder, rest.split(/\s+/));
        break;
      case "RUN":
        await run("sh", ["-ec", rest], {
          cwd: image.folder,
          env: { ...process.env, ...image.env, npm_config_prefer_offline: "true" },
          maxBuffer: 10_000_000,
        });
        break;
      case "ENV":
        for (const [, key = "", value = ""] of rest.matchAll(/(\w+)=(\S+)/g)) image.env[key] = value;
        break;
      case "HEALTHCHECK":
        image.healthcheck = JSON.parse(rest.slice(rest.indexOf("CMD ") + 4));
        break;
      case "ENTRYPOINT":
        image.entrypoint = JSON.parse(rest);
        break;
      case "WORKDIR":
      case "USER":
      case "EXPOSE":
      case "STOPSIGNAL":
      case "CMD":
        break;
      default:
        throw new Error(`The Dockerfile has ${name}, which this helper does not know yet`);
    }
  }
  return image;
}

function readInstructions(): Instruction[] {
  return readFileSync(join(ROOT, "Dockerfile"), "utf8")
    .replace(/^#.*\n/gm, "")
    .replace(/\\\n/g, " ")
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => ({ name: line.slice(0, line.indexOf(" ")), rest: line.slice(line.indexOf(" ") + 1).trim() }));
}

async function startStage(folder: string, rest: string): Promise<string> {
  const [base = "", , name = ""] = rest.split(/\s+/);
  const stage = join(folder, name);
  const isStage = (await readdir(folder)).includes(base);
  // Hard links spare a copy of hundreds of megabytes of packages; no step changes an existing file.
  if (isStage) await run("cp", ["-al", join(folder, base), stage]);
  else await mkdir(stage);
  return stage;
}

async function copy(folder: string, stage: string, words: string[]): Promise<void> {
  const from = words.find((word) => word.startsWith("--from="))?.slice("--from=".length);
  const paths = words.filter((word) => !word.startsWith("--"));
  const target = paths.pop() as string;
  for (const path of paths) {
    const to = join(stage, target.endsWith("/") ? join(target, basename(path)) : target);
    await mkdir(dirname(to), { recursive: true });
    if (from !== undefined) await run("cp", ["-al", join(folder, from, path.replace(/^\/app\//, "")), to]);
    else await cp(join(ROOT, path), to, { recursive: true, filter: isInContext });
  }
}

/** Whether `.dockerignore` lets the file into the build. It lets in only what it names. */
function isInContext(source: string): boolean {
  const path = relative(ROOT, source);
  const lines = readFileSync(join(ROOT, ".dockerignore"), "utf8").split("\n");
  const isNamed = lines.some((line) => line.startsWith("!") && `${path}/`.startsWith(`${line.slice(1)}/`));
  return isNamed && !path.endsWith(".test.ts");
}
