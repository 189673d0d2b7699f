import { readFile, rm } from "node:fs/promises";
import { createServer, type Server, request as sendOn } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { runProgram } from "../helpers/run-process.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";
import { requireTool, TOOLS } from "../helpers/tools.ts";

/*
 * The example of a client over HTTP alone, in Python's standard library.
 */

const CLIENT = fileURLToPath(new URL("../../examples/python/playhead_client.py", import.meta.url));
const COURSE = {
  title: "Demo",
  lessons: [{ id: "l1", title: "One", files: [{ id: "f1", title: "File", durationSeconds: 24 }] }],
};

let database: TestDatabase;
let server: TestServer;
let folder: string;
const proxies: Server[] = [];

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer(database);
  await putCourse(server.url, "c1", COURSE);
  folder = await makeTemporaryFolder();
});
afterAll(async () => {
  for (const proxy of proxies) proxy.close();
  await server.stop();
  await database.drop();
  await rm(folder, { recursive: true, force: true });
});

interface Run {
  code: number | NodeJS.Signals;
  stdout: string;
  stderr: string;
}

/** Runs the client as the user, with a queue of that user's own. */
async function run(userId: string, args: string[], { url = server.url, patience = 0 } = {}): Promise<Run> {
  const options = ["--url", url, "--queue", join(folder, `${userId}.json`), "--patience", String(patience)];
  const client = runProgram(requireTool(TOOLS.python), ["-B", CLIENT, ...options, ...args], {
    env: { PLAYHEAD_TOKEN: await mintToken(userId) },
  });
  return { code: await client.exited, stdout: client.stdout(), stderr: client.stderr() };
}

async function readProgress(userId: string) {
  const { code, stdout, stderr } = await run(userId, ["progress", "f1"]);
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  return JSON.parse(stdout);
}

/** A way to the server on which each of the first requests meets an accident. */
async function startBadWay(accidents: ("lost answer" | "overloaded")[]): Promise<{ url: string; met: string[] }> {
  const met: string[] = [];
  const proxy = createServer((incoming, outgoing) => {
    const accident = accidents[met.length];
    met.push(accident ?? "none");
    if (accident === "overloaded") {
      outgoing.writeHead(503, { "content-type": "application/problem+json" });
      outgoing.end(JSON.stringify({ code: "overloaded", detail: "later", status: 503, retryAfterMs: 50 }));
      return;
    }
    const { method, headers, url } = incoming;
    const onward = sendOn(new URL(url as string, server.url), { method, headers }, (answer) => {
      answer.on("end", () => accident === "lost answer" && outgoing.destroy());
      if (accident === "lost answer") answer.resume();
      else answer.pipe(outgoing.writeHead(answer.statusCode as number, answer.headers));
    });
    incoming.pipe(onward);
  });
  proxies.push(proxy);
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return { url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`, met };
}

it("sends what played, and reads the progress", async () => {
  expect(await run("ada", ["played", "f1", "0", "8"])).toEqual({ code: 0, stdout: "0 beats wait\n", stderr: "" });
  expect(await readProgress("ada")).toMatchObject({ userId: "ada", position: 8, resumeAt: 6, watched: [[0, 8]] });
});

it("keeps beats in a file while the server is away, and sends them when it is back", async () => {
  const away = { url: `http://127.0.0.1:${await findFreePort()}` };
  expect(await run("ben", ["played", "f1", "0", "4"], away)).toMatchObject({ code: 0, stdout: "1 beats wait\n" });
  expect(await run("ben", ["played", "f1", "4", "9"], away)).toMatchObject({ code: 0, stdout: "2 beats wait\n" });
  expect(await run("ben", ["send"])).toEqual({ code: 0, stdout: "0 beats wait\n", stderr: "" });
  expect(await readProgress("ben")).toMatchObject({ position: 9, watched: [[0, 9]], watchTimeSeconds: 9 });
});

it("tries again after lost answers and refusals, and counts nothing twice", async () => {
  const way = await startBadWay(["lost answer", "overloaded", "lost answer"]);
  const sent = await run("cleo", ["played", "f1", "0", "6"], { url: way.url, patience: 60 });
  expect(sent).toEqual({ code: 0, stdout: "0 beats wait\n", stderr: "" });
  expect(way.met).toEqual(["lost answer", "overloaded", "lost answer", "none"]);
  expect(await readProgress("cleo")).toMatchObject({ watched: [[0, 6]], watchTimeSeconds: 6 });
});

it("gives up a beat that no repeat can bring in, and sends the others", async () => {
  const away = { url: `http://127.0.0.1:${await findFreePort()}` };
  await run("dora", ["played", "no-such-file", "0", "5"], away);
  const { code, stdout, stderr } = await run("dora", ["played", "f1", "0", "5"]);
  expect({ code, stdout }).toEqual({ code: 0, stdout: "0 beats wait\n" });
  expect(stderr).toContain("no-such-file");
  expect(await readProgress("dora")).toMatchObject({ watched: [[0, 5]] });
});

it("says that a token is refused, and keeps the beats", async () => {
  const queue = join(folder, "eve.json");
  const args = ["-B", CLIENT, "--url", server.url, "--queue", queue, "--token", "forged", "played", "f1", "0", "3"];
  const client = runProgram(requireTool(TOOLS.python), args);
  expect(await client.exited).toBe(1);
  expect(client.stderr()).toMatch(/^refused: /);
  expect(JSON.parse(await readFile(queue, "utf8")).beats).toHaveLength(1);
});
