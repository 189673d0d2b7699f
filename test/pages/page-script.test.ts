import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { PageScript } from "../../src/client/page-script.ts";
import type { FileProgress } from "../../src/protocol/progress.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { collectProblems, openPageBrowser } from "../helpers/page-browser.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The client library as one script, in plain pages of another site: as WordPress or Moodle would have it.
 */

declare const window: Window & { playhead: PageScript; told: string[] };

let database: TestDatabase;
let server: ServerProcess;
let site: Server;
let siteUrl: string;
let browser: Browser;
let context: BrowserContext;
let problems: string[];
/** What the site answers, by path. */
const pages = new Map<string, string>();

beforeAll(async () => {
  site = createServer(async (request, response) => {
    const path = request.url ?? "/";
    const page = pages.get(path);
    if (path === "/token") return response.end(await mintToken("alice"));
    if (path === "/token.json") return response.end(JSON.stringify({ token: await mintToken("bob") }));
    return page ? response.setHeader("content-type", "text/html").end(page) : response.writeHead(404).end("<p>none");
  });
  await new Promise<void>((resolve) => site.listen(0, "127.0.0.1", resolve));
  siteUrl = `http://127.0.0.1:${(site.address() as AddressInfo).port}`;
  database = await createTestDatabase();
  server = await startServerProcess({ env: serverEnv(database, { ALLOWED_ORIGINS: siteUrl }) });
  const files = ["f1", "f2", "f3"].map((id) => ({ id, title: id, durationSeconds: 24 }));
  await putCourse(server.url, "c1", {
    title: "One",
    instructorId: "ines",
    lessons: [{ id: "l1", title: "One", files }],
  });
  browser = await openPageBrowser();
});

afterAll(async () => {
  await browser?.close();
  await server?.stop();
  await database?.drop();
  site?.close();
});

beforeEach(async () => {
  context = await browser.newContext();
  context.setDefaultTimeout(30_000);
  problems = collectProblems(context);
});

afterEach(() => context.close());

async function open(body: string, script: string): Promise<Page> {
  pages.set("/", `<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">${script}<body>${body}`);
  const page = await context.newPage();
  await page.goto(siteUrl);
  return page;
}

const plainScript = () => `<script src="${server.url}/client/playhead.js"></script>`;
const moduleScript = () => `<script type="module" src="${server.url}/client/playhead.js"></script>`;
const video = (attributes = "") => `<video muted playsinline ${attributes} src="${server.url}/clip.webm"></video>`;

/** Plays a second and pauses. */
async function play(page: Page): Promise<void> {
  await page.evaluate(async () => {
    const media = document.querySelector("video") as HTMLVideoElement;
    await media.play();
    while (media.currentTime < 1) await new Promise(requestAnimationFrame);
    media.pause();
  });
}

/** Waits until the server holds a second of the file. */
async function waitForWatched(fileId: string, userId: string): Promise<void> {
  const headers = { authorization: `Bearer ${await mintToken(userId)}` };
  const read = async () => (await fetch(`${server.url}/v1/progress/files/${fileId}`, { headers })).json();
  await waitFor(async () => ((await read()) as FileProgress).watchedSeconds >= 0.9, {
    what: `${fileId} to be watched`,
  });
}

describe("a plain page with the script", () => {
  it("tracks a video by its data attributes, from a script tag in the head", async () => {
    const page = await open(video('data-playhead-file-id="f1" data-playhead-token-url="/token"'), plainScript());
    await page.evaluate(() => {
      window.told = [];
      document.addEventListener("playhead-progress", (event) =>
        window.told.push((event as CustomEvent<FileProgress>).detail.fileId),
      );
    });
    await play(page);
    await waitForWatched("f1", "alice");
    await page.waitForFunction(() => window.told.includes("f1"));
    expect(problems).toEqual([]);
  });

  it("tracks the video in a <playhead-tracker>, from a module script, until it is removed", async () => {
    const tracker = `<playhead-tracker file-id="f2" token-url="/token.json">${video()}</playhead-tracker>`;
    const page = await open(tracker, moduleScript());
    await play(page);
    await waitForWatched("f2", "bob");
    const left = await page.evaluate(async () => {
      const media = document.querySelector("video") as HTMLVideoElement;
      const tracked = window.playhead.playerOf(media)?.fileId;
      document.querySelector("playhead-tracker")?.remove();
      await new Promise(requestAnimationFrame);
      return [tracked, window.playhead.playerOf(media)];
    });
    expect(left).toEqual(["f2", null]);
    expect(problems).toEqual([]);
  });

  it("follows a tracker that is put in later, and one that names another file", async () => {
    const page = await open("", plainScript());
    const files = await page.evaluate(
      async (html) => {
        document.body.innerHTML = html;
        const media = document.querySelector("video") as HTMLVideoElement;
        await new Promise(requestAnimationFrame);
        const first = window.playhead.playerOf(media)?.fileId;
        document.querySelector("playhead-tracker")?.setAttribute("file-id", "f3");
        await new Promise(requestAnimationFrame);
        return [first, window.playhead.playerOf(media)?.fileId];
      },
      `${video('id="lesson"')}<playhead-tracker for="lesson" file-id="f1" token-url="/token"></playhead-tracker>`,
    );
    expect(files).toEqual(["f1", "f3"]);
  });

  it("says in the console what is missing, and what a wrong token address answered", async () => {
    const page = await open(
      `<playhead-tracker file-id="f1">${video()}</playhead-tracker>${video('data-playhead-file-id="f2" data-playhead-token-url="/nowhere"')}`,
      plainScript(),
    );
    await waitFor(() => problems.length >= 2, { what: `the problems; there are ${problems.join(" | ")}` });
    const all = problems.join("\n");
    expect(all).toContain("expected the attribute token-url or token for the file f1");
    await waitFor(() => problems.join().includes("expected a token from /nowhere; it answered 404"), {
      what: "the address",
    });
    await page.close();
  });
});
