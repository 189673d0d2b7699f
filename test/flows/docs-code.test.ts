import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { parse as parseEnv } from "dotenv";
import { afterAll, beforeAll, expect, it } from "vitest";
import { CourseTree } from "../../src/protocol/course.ts";
import { SERVER_MAIN } from "../helpers/built-server.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type DocsBlock, readDocsBlocks } from "../helpers/docs-blocks.ts";
import { substitute } from "../helpers/how-to.ts";
import { AUTH_SECRET, serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * Every fenced block of the documentation is checked by a rule: it is compiled, run or parsed here, another test has it, or
 * there is a reason why it cannot be. A block that no rule covers fails the first test.
 */

const ROOT = join(import.meta.dirname, "../..");
const DOCS_URL = "http://127.0.0.1:8080";
const execFileDone = promisify(execFile);

/** Blocks that other tests take from the page and run. */
const TESTED_ELSEWHERE = [
  {
    page: /^docs\/media-servers\//,
    language: /^(nginx|sh|js|srs|xml|yaml)$/,
    test: "test/media-servers/media-server-how-tos.test.ts",
  },
  { page: /^docs\/operations\.md$/, language: /^nginx$/, test: "test/pages/behind-path.test.ts" },
  { page: /^docs\/protocol\.md$/, language: /^frames$/, test: "test/flows/raw-frames.test.ts" },
];

/** Commands that cannot run here. `text` is a part of the block. */
const NOT_RUN = [
  { text: "npm install", reason: "installs packages from a registry" },
  { text: "npm pack", reason: "test/flows/client-package.test.ts packs and installs the package" },
  { text: "npm start", reason: "is a server that runs until it is ended; each test of flows starts one" },
  { text: "docker compose", reason: "needs Docker; test/flows/deployment-files.test.ts checks the files" },
  { text: "HOST=0.0.0.0", reason: "is a list of variables; read as such below" },
  { text: "postmaster.pid", reason: "needs psql and the embedded PostgreSQL" },
  {
    text: "/backups",
    reason: "writes outside of a test's folder; test/flows/database-dump.test.ts dumps and restores",
  },
  { text: "node watch.mjs", reason: "needs the package installed; the test of the client in a few lines runs it" },
  { text: "npx playhead doctor\nok", reason: "its output differs by server; test/flows/doctor.test.ts has it" },
];

/** What the examples take for granted. */
const AMBIENT = `
declare const token: string;
declare function show(...figures: unknown[]): void;
declare function render(...figures: unknown[]): void;
declare const io: typeof import("socket.io-client").io;
`;

type Check = "compile" | "run" | "json" | "sql" | "env" | "markup" | "elsewhere" | "excused" | "notation";

function checkOf(block: DocsBlock): Check | null {
  const { page, language, text } = block;
  if (TESTED_ELSEWHERE.some((rule) => rule.page.test(page) && rule.language.test(language))) return "elsewhere";
  // A drawing, a formula, a frame or a request.
  if (language === "" || language === "http") return "notation";
  if (language === "env" || text.startsWith("HOST=0.0.0.0")) return "env";
  if (/^(js|ts|tsx)$/.test(language)) return "compile";
  if (/^(sh|console)$/.test(language)) return NOT_RUN.some((rule) => text.includes(rule.text)) ? "excused" : "run";
  if (/^jsonc?$/.test(language)) return "json";
  if (language === "sql") return "sql";
  if (language === "html") return "markup";
  // A unit of systemd.
  if (language === "ini" && /^\[\w+\]\n(\w+=.*\n)+$/.test(text)) return "notation";
  return null;
}

const blocks = readDocsBlocks();
const of = (check: Check) => blocks.filter((block) => checkOf(block) === check);
const nameOf = ({ page, line }: DocsBlock) => `${page}:${line}`;

let folder: string;
let database: TestDatabase;
let server: ServerProcess;

beforeAll(async () => {
  folder = await makeTemporaryFolder();
  database = await createTestDatabase();
  server = await startServerProcess({ cwd: folder, env: serverEnv(database, { DEMO: "true" }) });
});
afterAll(async () => {
  await server?.stop();
  await database?.drop();
  await rm(folder, { recursive: true, force: true });
});

it("a rule covers every block of code", () => {
  expect(blocks.length).toBeGreaterThan(40);
  expect(blocks.filter((block) => checkOf(block) === null).map(nameOf)).toEqual([]);
});

it("every exception still has its block, and every test that is named exists", () => {
  for (const { text } of NOT_RUN)
    expect(
      blocks.some((block) => block.text.includes(text)),
      text,
    ).toBe(true);
  for (const { test, page } of TESTED_ELSEWHERE) {
    expect(existsSync(join(ROOT, test)), test).toBe(true);
    expect(
      blocks.some((block) => page.test(block.page)),
      String(page),
    ).toBe(true);
  }
});

it("the scripts compile under strict TypeScript", async () => {
  // Inside the project, so that the packages are found.
  await mkdir(join(ROOT, ".test-build"), { recursive: true });
  const scripts = await mkdtemp(join(ROOT, ".test-build/docs-"));
  try {
    const names = new Map<string, string>();
    for (const [at, block] of of("compile").entries()) {
      const name = `block-${at}.${block.language}`;
      names.set(name, nameOf(block));
      await writeFile(join(scripts, name), `${block.text}\nexport {};\n`);
    }
    await writeFile(join(scripts, "ambient.d.ts"), AMBIENT);
    const client = [join(ROOT, "src/client/index.ts")];
    const compilerOptions = {
      ...{
        module: "esnext",
        moduleResolution: "bundler",
        target: "es2022",
        lib: ["es2023", "es2024.string", "dom", "dom.iterable"],
      },
      ...{
        strict: true,
        noEmit: true,
        allowJs: true,
        checkJs: true,
        skipLibCheck: true,
        allowImportingTsExtensions: true,
      },
      // The examples are JavaScript: their own parameters have no types.
      ...{ noImplicitAny: false, types: ["node"] },
      paths: {
        "playhead-client": client,
        "playhead/client": client,
        "playhead/rtmp": [join(ROOT, "src/rtmp/index.ts")],
        "playhead/rtmp/node-media-server": [join(ROOT, "src/rtmp/node-media-server.ts")],
      },
    };
    await writeFile(join(scripts, "package.json"), '{ "type": "module" }');
    await writeFile(join(scripts, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*"] }));
    const tsc = join(ROOT, "node_modules/typescript/bin/tsc");
    const problems = await execFileDone(process.execPath, [tsc, "-p", scripts], { cwd: scripts }).then(
      () => "",
      ({ stdout }: { stdout: string }) => stdout.replaceAll(/block-\d+\.\w+/g, (name) => names.get(name) ?? name),
    );
    expect(problems).toBe("");
  } finally {
    await rm(scripts, { recursive: true, force: true });
  }
});

it("a token that the example of a backend signs is accepted", async () => {
  const block = of("compile").find(({ text }) => text.includes('from "jose"'));
  if (block === undefined) throw new Error("no page shows how a backend signs a token any more");
  await writeFile(join(folder, "sign.mjs"), block.text);
  await symlink(join(ROOT, "node_modules"), join(folder, "node_modules"));
  const { stdout } = await execFileDone(process.execPath, ["sign.mjs"], {
    cwd: folder,
    env: { ...process.env, AUTH_SECRET },
  });
  const answer = await fetch(`${server.url}/v1/progress`, { headers: { authorization: `Bearer ${stdout.trim()}` } });
  expect(answer.status).toBe(200);
});

it("the client in a few lines says what the README says", async () => {
  const script = of("compile").find(({ text }) => text.includes('from "playhead/client"'));
  const example = blocks.find(({ text }) => text.startsWith("$ node watch.mjs"));
  if (script === undefined || example === undefined) throw new Error("README.md has no client in a few lines any more");
  const built = pathToFileURL(join(dirname(SERVER_MAIN), "client/index.js")).href;
  const runnable = substitute(script.text, { "playhead/client": built, [DOCS_URL]: server.url });
  await writeFile(join(folder, "watch.mjs"), runnable);
  const token = await mintToken("alice");
  const run = async () => (await execFileDone(process.execPath, ["watch.mjs", token], { cwd: folder })).stdout;
  // On a busy machine the ack may come after the two seconds that `close` waits. Playing a part again changes nothing.
  await expect.poll(run, { timeout: 60_000 }).toBe(example.text.split("\n").slice(1).join("\n"));
});

it("the commands run against a server, in the order of their page", async () => {
  await mkdir(join(folder, "my-page/public"), { recursive: true });
  await symlink(join(ROOT, "src"), join(folder, "src"));
  const env = { ...process.env, ...serverEnv(database), LOG_LEVEL: "error" };
  const prelude = `set -eu\nnpx() { test "$1" = playhead; shift; "${process.execPath}" "${SERVER_MAIN}" "$@"; }\n`;
  for (const block of of("run")) {
    const isConsole = block.language === "console";
    const lines = isConsole
      ? block.text
          .match(/^\$ .*$/gm)
          ?.map((line) => line.slice(2))
          .join("\n")
      : block.text;
    const script = (lines ?? "").replaceAll(DOCS_URL, server.url).replaceAll("/tmp/my-page", join(folder, "my-page"));
    await execFileDone("bash", ["-c", prelude + script], { cwd: folder, env }).catch((error: { stderr: string }) => {
      throw new Error(`${nameOf(block)} failed: ${error.stderr}`, { cause: error });
    });
  }
});

it("JSON is JSON, and a course is one that the server takes", () => {
  for (const block of of("json")) {
    const json = block.text.replaceAll(/^\s*\/\/.*$|\s\/\/ .*$/gm, "");
    expect(() => JSON.parse(json), nameOf(block)).not.toThrow();
    const body = JSON.parse(json);
    if (Array.isArray(body.lessons)) expect(CourseTree.safeParse(body).error, nameOf(block)).toBeUndefined();
  }
});

it("SQL runs in a migrated database", async () => {
  await database.query("insert into users (id) values ('carol') on conflict do nothing");
  const client = await database.pool.connect();
  try {
    for (const block of of("sql")) {
      for (const statement of block.text.split(/;\s*$/m).filter((text) => text.trim() !== "")) {
        await client.query(statement).catch((error: Error) => {
          throw new Error(`${nameOf(block)}: ${error.message}`, { cause: error });
        });
      }
    }
  } finally {
    client.release();
  }
});

it("the proxy in front has the lines of the proxy behind a path, which is tested", () => {
  const [front, path] = blocks.filter(({ page, language }) => page === "docs/operations.md" && language === "nginx");
  const locationOf = (block: DocsBlock | undefined) => block?.text.match(/\{\n(.*?)^\}/ms)?.[1];
  expect(locationOf(front)).toContain("proxy_pass");
  expect(locationOf(front)).toBe(locationOf(path));
});

it("lists of variables name variables that exist", async () => {
  const known = await readFile(join(ROOT, "docs/configuration.md"), "utf8");
  for (const block of of("env")) {
    const names = Object.keys(parseEnv(block.text));
    expect(names.length, nameOf(block)).toBeGreaterThan(0);
    for (const name of names) expect(known, nameOf(block)).toContain(`\`${name}\``);
  }
});

it("markup closes what it opens", () => {
  for (const block of of("markup")) {
    const open: string[] = [];
    for (const [, end, name = ""] of block.text.matchAll(/<(\/?)([a-z][\w-]*)[^>]*>/g)) {
      if (end) expect(open.pop(), nameOf(block)).toBe(name);
      else open.push(name);
    }
    expect(open, nameOf(block)).toEqual([]);
  }
});
