import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { CLIP_SECONDS } from "../../src/dashboard/clip.ts";
import { createLogger } from "../../src/logger.ts";
import { startServer } from "../../src/server.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { collectProblems, openPageBrowser } from "../helpers/page-browser.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * The two pages in a browser: a learner watches the clip at /watch, and an instructor sees that at /.
 */

let database: TestDatabase;
let server: Awaited<ReturnType<typeof startServer>>;
let browser: Browser;
let context: BrowserContext;
let problems: string[];

beforeAll(async () => {
  browser = await openPageBrowser();
});

afterAll(async () => {
  await browser?.close();
});

beforeEach(async () => {
  database = await createTestDatabase();
  server = await start(await findFreePort());
  context = await browser.newContext();
  context.setDefaultTimeout(20_000);
  problems = collectProblems(context);
});

afterEach(async () => {
  await context.close();
  await server.stop();
  await database.drop();
  expect(problems).toEqual([]);
});

/** `port` is not 0: uWebSockets.js can open a port that it was given as 0 again only after a minute. */
function start(port: string) {
  const environment = { DATABASE_URL: database.url, PORT: port, DEMO: "true", BEAT_INTERVAL_MS: "1000" };
  return startServer({ config: loadConfig(environment), logger: createLogger({ level: "error" }) });
}

async function openWatch(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(`${server.url}/watch`);
  await page.getByRole("button", { name: "Watch as a demo learner" }).click();
  await waitUntilLive(page);
  return page;
}

async function openDashboard(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(server.url);
  await page.getByRole("button", { name: "Look at the demo course" }).click();
  await waitUntilLive(page);
  return page;
}

async function waitUntilLive(page: Page): Promise<void> {
  await page.locator(".connection.online").waitFor();
}

async function play(page: Page, rate = 1): Promise<void> {
  await page.locator("video").evaluate((video: HTMLVideoElement, speed) => {
    video.playbackRate = speed;
    return video.play();
  }, rate);
}

async function pause(page: Page): Promise<void> {
  await page.locator("video").evaluate((video: HTMLVideoElement) => video.pause());
  await page.locator(".player-foot .badge", { hasText: "Saved" }).waitFor();
}

async function seek(page: Page, seconds: number): Promise<void> {
  await page.locator("video").evaluate((video: HTMLVideoElement, to) => {
    video.currentTime = to;
  }, seconds);
}

function readPosition(page: Page): Promise<number> {
  return page.locator("video").evaluate((video: HTMLVideoElement) => video.currentTime);
}

async function waitUntilPosition(page: Page, seconds: number): Promise<void> {
  const what = `the video to reach ${seconds} s`;
  await waitFor(async () => (await readPosition(page)) >= seconds, { what, timeoutMs: 60_000 });
}

/** The learner's percentage on the dashboard; 0 while the learner is not listed. */
async function readPercentage(dashboard: Page): Promise<number> {
  const number = dashboard.locator(".learners li .number");
  return (await number.count()) === 0 ? 0 : Number.parseInt((await number.first().textContent()) ?? "0", 10);
}

async function readStored(fileId: string) {
  const rows = await database.query<{ completed: boolean; watched_ms: number; position_ms: number }>(
    "select * from user_progress where file_id = $1",
    [fileId],
  );
  return rows[0];
}

it("shows an instructor, live, how far a learner has come and where the learner is", async () => {
  const dashboard = await openDashboard();
  const watch = await openWatch();
  expect(await readPercentage(dashboard)).toBe(0);

  await play(watch);
  const viewer = dashboard.locator(".viewers li");
  await viewer.getByText("Playing").waitFor();
  const percentages = new Set<number>();
  await waitFor(
    async () => {
      percentages.add(await readPercentage(dashboard));
      return Math.max(...percentages) >= 8;
    },
    { what: "the learner's percentage to rise without a reload", timeoutMs: 30_000 },
  );
  expect(percentages.size).toBeGreaterThan(2);

  await pause(watch);
  await viewer.getByText("Paused").waitFor();

  await dashboard.locator(".learners li button").first().click();
  await dashboard.locator(".detail .watched-bar .part").first().waitFor();
});

it("completes a file that was played, but not a file that was only sought through", async () => {
  const watch = await openWatch();
  const badge = watch.locator(".player-head .badge.done");
  await play(watch);
  await waitUntilPosition(watch, 2);
  await seek(watch, CLIP_SECONDS - 0.5);
  await watch.locator("video").evaluate(async (video: HTMLVideoElement) => {
    while (!video.ended) await new Promise((resolve) => video.addEventListener("ended", resolve, { once: true }));
  });
  await watch.locator(".player-foot .badge", { hasText: "Saved" }).waitFor();
  expect((await readStored("demo-intro"))?.completed).toBe(false);
  expect(await badge.count()).toBe(0);

  await seek(watch, 0);
  // Twice the speed is well within the allowance of a user.
  await play(watch, 2);
  await badge.waitFor();
  expect((await readStored("demo-intro"))?.completed).toBe(true);
});

it("resumes after a reload within three seconds of the last position", async () => {
  const watch = await openWatch();
  await play(watch, 2);
  await waitUntilPosition(watch, 9);
  const left = await readPosition(watch);
  // The video still plays: the closing page sends the last heartbeat.
  await watch.reload();
  await waitUntilLive(watch);
  await waitFor(async () => (await readPosition(watch)) > 0, { what: "the video to resume" });
  expect(Math.abs((await readPosition(watch)) - left)).toBeLessThanOrEqual(3);
  const parts = watch.locator(".player .watched-bar .part");
  await parts.first().waitFor();
  expect(await parts.count()).toBe(1);
});

it("keeps the progress made while the server is away, and saves it when the server is back", async () => {
  const watch = await openWatch();
  await play(watch);
  await waitUntilPosition(watch, 1.5);
  const { url } = server;
  await server.stop();
  await watch.locator(".connection.offline").waitFor();
  await waitUntilPosition(watch, 5);
  await watch.locator("video").evaluate((video: HTMLVideoElement) => video.pause());
  server = await start(new URL(url).port);
  await waitUntilLive(watch);
  await watch.locator(".player-foot .badge", { hasText: "Saved" }).waitFor();
  await waitFor(async () => ((await readStored("demo-intro"))?.watched_ms ?? 0) >= 4500, {
    what: "what was played offline to be stored",
  });
  // The browser itself reports every failed attempt to connect.
  problems = problems.filter((problem) => !/WebSocket|ERR_CONNECTION/.test(problem));
});
