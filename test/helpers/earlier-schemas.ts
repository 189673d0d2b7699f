import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { gunzipSync, gzipSync } from "node:zlib";

/*
 * The states that `migrations/` has had on the main line: those of every commit that changed it there. A branch may have had
 * numbers that came later on the main line; nobody's database is made by it. A fixture keeps the states, because a tarball or
 * a shallow clone has no history; where there is one, its commits are added.
 */

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FOLDER = "migrations";
const FIXTURE = join(ROOT, "test/fixtures/earlier-schemas.json.gz");
const SQL = /^(\d{4}_\w+|functions\/\w+)\.sql$/;

/** Git's id of each file's text, by path below `migrations/`. */
type State = Record<string, string>;

/** States in the order in which they came to be, and the texts that they name. */
interface Kept {
  states: State[];
  texts: Record<string, string>;
}

/** One state of `migrations/`, with the texts. */
export interface EarlierSchema {
  /** Tells states apart: the last numbered migration, and the start of a checksum of all files. */
  label: string;
  /** Texts by name, in the order of the numbers. */
  migrations: Map<string, string>;
  functions: Map<string, string>;
}

/** All distinct states that the fixture or the history has. */
export async function readEarlierSchemas(): Promise<EarlierSchema[]> {
  return toSchemas(await addHistory(await readFixture()));
}

/** The last state in which the nine migrations stood that were squashed into four. */
export async function readLastBeforeSquash(): Promise<EarlierSchema> {
  return (await readRecordedSchemas()).findLast(({ functions }) => functions.size === 0) as EarlierSchema;
}

/** The distinct states of the fixture alone. */
export async function readRecordedSchemas(): Promise<EarlierSchema[]> {
  return toSchemas(await readFixture());
}

/** Adds the states of the history and that of the working tree to the fixture. */
export async function recordSchemas(): Promise<void> {
  const kept = await addWorkingTree(await addHistory(await readFixture()));
  await writeFile(FIXTURE, gzipSync(JSON.stringify(kept), { level: 9 }));
}

async function readFixture(): Promise<Kept> {
  return JSON.parse(gunzipSync(await readFile(FIXTURE)).toString("utf8"));
}

async function addHistory(kept: Kept): Promise<Kept> {
  const git = async (...args: string[]) => (await promisify(execFile)("git", args, { cwd: ROOT })).stdout;
  // Without git, or outside of a repository, there is only the fixture.
  const listing = await git("rev-list", "--reverse", "--first-parent", "HEAD", "--", FOLDER).catch(() => "");
  const added: Kept = { states: [...kept.states], texts: { ...kept.texts } };
  for (const commit of listing.split("\n").filter(Boolean)) {
    const tree = await git("ls-tree", "-r", commit, `${FOLDER}/`);
    const state: State = {};
    for (const [, id = "", path = ""] of tree.matchAll(/ blob (\w+)\tmigrations\/(.+)$/gm)) {
      if (SQL.test(path)) state[path] = id;
    }
    for (const id of Object.values(state)) added.texts[id] ??= await git("cat-file", "blob", id);
    addState(added, state);
  }
  return added;
}

async function addWorkingTree(kept: Kept): Promise<Kept> {
  const added: Kept = { states: [...kept.states], texts: { ...kept.texts } };
  const state: State = {};
  for (const path of (await readdir(join(ROOT, FOLDER), { recursive: true })).filter((path) => SQL.test(path)).sort()) {
    const text = await readFile(join(ROOT, FOLDER, path), "utf8");
    const id = createHash("sha1")
      .update(`blob ${Buffer.byteLength(text)}\0${text}`)
      .digest("hex");
    state[path] = id;
    added.texts[id] = text;
  }
  addState(added, state);
  return added;
}

function addState(kept: Kept, state: State): void {
  const digest = digestOf(state);
  if (Object.keys(state).length > 0 && !kept.states.some((other) => digestOf(other) === digest))
    kept.states.push(state);
}

function digestOf(state: State): string {
  return createHash("sha1")
    .update(JSON.stringify(Object.entries(state).sort()))
    .digest("hex");
}

function toSchemas({ states, texts }: Kept): EarlierSchema[] {
  return states.map((state) => {
    const pick = (isPicked: (path: string) => boolean) =>
      new Map(
        Object.keys(state)
          .filter(isPicked)
          .sort()
          .map((path) => [path.replace(/^functions\/|\.sql$/g, ""), texts[state[path] as string] as string]),
      );
    const functions = pick((path) => path.startsWith("functions/"));
    const migrations = pick((path) => !path.startsWith("functions/"));
    return { label: `${[...migrations.keys()].at(-1)} (${digestOf(state).slice(0, 7)})`, migrations, functions };
  });
}
