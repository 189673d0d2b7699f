import type { Browser, BrowserContext, Locator, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from "vitest";
import { loadConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import { startServer } from "../../src/server.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { collectProblems, openPageBrowser } from "../helpers/page-browser.ts";

/*
 * An owner on the Streams page of the dashboard. SQL plays the media servers that change the streams.
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
  const environment = { DATABASE_URL: database.url, PORT: await findFreePort(), DEMO: "true" };
  server = await startServer({ config: loadConfig(environment), logger: createLogger({ level: "error" }) });
  context = await browser.newContext({ permissions: ["clipboard-read", "clipboard-write"] });
  context.setDefaultTimeout(20_000);
  problems = collectProblems(context);
});

afterEach(async () => {
  await context.close();
  await server.stop();
  await database.drop();
  expect(problems).toEqual([]);
});

async function openStreams(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(server.url);
  await page.getByRole("button", { name: "Look at the demo course" }).click();
  await page.getByRole("link", { name: "Streams" }).click();
  await page.getByRole("heading", { name: "Streams", level: 1 }).waitFor();
  return page;
}

/** Makes a stream by the form. @returns its key, as the page shows it once */
async function create(page: Page, title: string): Promise<string> {
  await page.getByRole("button", { name: "New stream" }).click();
  await page.getByLabel("Title").fill(title);
  await page.getByRole("button", { name: "Create stream" }).click();
  return page.getByLabel("Stream key").inputValue();
}

async function createAndChoose(page: Page, title: string): Promise<void> {
  await create(page, title);
  await page.getByRole("button", { name: "I have kept it" }).click();
  await row(page, title).click();
  await page.getByRole("heading", { name: "Broadcasts" }).waitFor();
}

function row(page: Page, title: string): Locator {
  return page.locator(".stream-list li button", { hasText: title });
}

function detail(page: Page): Locator {
  return page.locator(".stream-detail");
}

function storedStreams() {
  return database.query<{ id: string; status: string; key_prefix: string }>("SELECT * FROM streams ORDER BY id");
}

it("shows the key of a new stream once, and never again", async () => {
  const page = await openStreams();
  const streamKey = await create(page, "Morning show");
  await page.getByRole("button", { name: "Copy" }).click();
  await page.getByText("Copied.").waitFor();
  expect(await page.evaluate(() => navigator.clipboard.readText())).toBe(streamKey);

  const [stored] = await storedStreams();
  if (!stored) throw new Error("the stream was not stored");
  expect(streamKey.startsWith(stored.key_prefix)).toBe(true);
  await row(page, "Morning show").getByText("Ready").waitFor();

  await page.reload();
  await row(page, "Morning show").getByText(stored.key_prefix).waitFor();
  expect(await page.getByLabel("Stream key").count()).toBe(0);
  const left = await page.evaluate(() =>
    JSON.stringify([document.documentElement.outerHTML, { ...localStorage }, { ...sessionStorage }]),
  );
  expect(left).not.toContain(streamKey);
});

it("shows every change of a stream at once, whoever makes it", async () => {
  const page = await openStreams();
  await create(page, "Morning show");
  const shown = row(page, "Morning show");
  await shown.getByText("Ready").waitFor();

  await database.query("UPDATE streams SET status = 'live', bitrate_kbps = 2480, viewers = 12");
  await shown.getByText("Live", { exact: true }).waitFor();
  await shown.getByText("2.5 Mbit/s · 12 viewers · since").waitFor();
  await page.getByRole("status").getByText("Morning show: Live").waitFor();
  await page.locator(".tile.live", { hasText: "Live now" }).getByText("1").waitFor();

  await database.query("UPDATE streams SET status = 'reconnecting'");
  await shown.getByText("Reconnecting").waitFor();
  await database.query("UPDATE streams SET status = 'ended'");
  await shown.getByText("Ended").waitFor();
  await shown.getByText("last live just now").waitFor();
  await database.query("DELETE FROM streams");
  await shown.waitFor({ state: "detached" });
});

it("revokes a key only after asking, and makes a new key", async () => {
  const page = await openStreams();
  await createAndChoose(page, "Morning show");
  await page.getByRole("button", { name: "Revoke key" }).click();
  await page.getByRole("button", { name: "Keep it" }).click();
  await page.getByRole("button", { name: "Revoke key" }).click();
  expect((await storedStreams())[0]?.status).toBe("ready");
  await page.getByRole("button", { name: "Revoke it" }).click();
  await detail(page).getByText("Revoked").waitFor();
  await row(page, "Morning show").getByText("Revoked").waitFor();
  expect((await storedStreams())[0]?.status).toBe("revoked");

  await page.getByRole("button", { name: "Rotate key" }).click();
  await page.getByRole("button", { name: "Make a new key" }).click();
  const streamKey = await page.getByLabel("Stream key").inputValue();
  await detail(page).getByText("Ready").waitFor();
  expect(streamKey.startsWith((await storedStreams())[0]?.key_prefix ?? "no key")).toBe(true);
});

it("keeps the old key good for as long as its owner asks", async () => {
  const page = await openStreams();
  await createAndChoose(page, "Morning show");
  await page.getByRole("button", { name: "Rotate key" }).click();
  await page.getByLabel("The old key still works").selectOption({ label: "for 10 minutes" });
  await page.getByRole("button", { name: "Make a new key" }).click();
  await page.getByText("The key before still works until").waitFor();
  await detail(page).getByText("works until").waitFor();
});

it("disables, enables, changes and deletes a stream", async () => {
  const page = await openStreams();
  await createAndChoose(page, "Morning show");
  await page.getByRole("button", { name: "Disable" }).click();
  await detail(page).getByText("Disabled").waitFor();
  await page.getByRole("button", { name: "Enable" }).click();
  await detail(page).getByText("Ready").waitFor();

  await page.getByRole("button", { name: "Edit" }).click();
  await page.getByLabel("Title").fill("Evening show");
  await page.getByRole("button", { name: "Save" }).click();
  await row(page, "Evening show").waitFor();

  await page.getByRole("button", { name: "Delete" }).click();
  await page.getByRole("button", { name: "Delete it" }).click();
  await page.getByText("There are no streams yet.").waitFor();
  expect(await storedStreams()).toEqual([]);
});

it("opens a stream by its address, and lists its broadcasts", async () => {
  const page = await openStreams();
  await createAndChoose(page, "Morning show");
  await database.query(
    `INSERT INTO stream_sessions (stream_id, claim, server, boot, connection, state, started_at, ended_at, end_reason,
       connections, peak_viewers, bitrate_sum, bitrate_reports)
     SELECT id, 'one', 'rtmp-1', 'boot', '7', 'ended', now() - interval '1 hour', now() - interval '30 minutes',
       'lease_lost', 2, 412, 5000, 2 FROM streams`,
  );
  await page.reload();
  const broadcast = page.locator(".history li");
  await broadcast.getByText("30:00").waitFor();
  await broadcast
    .getByText("no word from the media server · at most 412 viewers · 2.5 Mbit/s on average · 2 connections")
    .waitFor();

  await page.goBack();
  await row(page, "Morning show").waitFor();
  expect(await detail(page).count()).toBe(0);
  await page.goBack();
  await page.locator("nav a[aria-current]", { hasText: "Courses" }).waitFor();
});

it("shows the stream of another owner, but offers no action on it", async () => {
  await database.query("INSERT INTO users (id) VALUES ('somebody-else')");
  await database.query(
    `INSERT INTO streams (id, user_id, title, key_hash, key_prefix)
     VALUES ('theirs', 'somebody-else', 'Town hall', sha256('a key'), 'phk_theirs')`,
  );
  const page = await openStreams();
  await row(page, "Town hall").getByText("by somebody-else").waitFor();
  await row(page, "Town hall").click();
  await detail(page).getByText("never live yet").waitFor();
  const buttons = await detail(page).getByRole("button").allTextContents();
  expect(buttons).toEqual(["Close"]);
  await page.getByLabel("Only mine").check();
  await row(page, "Town hall").waitFor({ state: "detached" });
});

it("says in the form why a stream cannot be made", async () => {
  const page = await openStreams();
  await page.getByRole("button", { name: "New stream" }).click();
  await page.getByLabel("Title").fill("Too late");
  await page.getByLabel("Key expires").fill("2020-01-01T10:00");
  await page.getByRole("button", { name: "Create stream" }).click();
  await page.getByRole("alert").waitFor();
  expect(await storedStreams()).toEqual([]);
  // The browser itself reports the answer.
  expect(problems.splice(0)).toEqual([expect.stringContaining("400")]);
});
