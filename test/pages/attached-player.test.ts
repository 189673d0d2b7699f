import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import type * as Sdk from "../../src/client/index.ts";
import type { Heartbeat } from "../../src/protocol/heartbeat.ts";
import { fromSeconds, lengthOf, unionOf } from "../../src/protocol/ranges.ts";
import { type FakeProgressServer, startFakeProgressServer } from "../helpers/fake-progress-server.ts";
import { openPageBrowser } from "../helpers/page-browser.ts";
import { type SdkSite, startSdkSite } from "../helpers/sdk-page.ts";
import { heardBy, takeEverything } from "../helpers/sdk-player.ts";

/*
 * The client library at a real media element, which forgets its media, seeks and decodes in its own time. The film takes
 * six seconds.
 */

interface SdkWindow extends Window {
  playhead: typeof Sdk;
  player: Sdk.Player;
  errors: string[];
}
declare const window: SdkWindow;

let site: SdkSite;
let browser: Browser;
let context: BrowserContext;
let server: FakeProgressServer;

beforeAll(async () => {
  site = await startSdkSite();
  browser = await openPageBrowser();
});

afterAll(async () => {
  await browser?.close();
  await site?.stop();
});

beforeEach(async () => {
  server = await startFakeProgressServer();
  takeEverything(server);
  context = await browser.newContext();
  context.setDefaultTimeout(20_000);
});

afterEach(async () => {
  await context.close();
  await server.stop();
});

/** Opens the page with the film, and attaches a player. */
async function open(): Promise<Page> {
  const page = await context.newPage();
  await page.goto(site.url);
  await attach(page);
  return page;
}

async function attach(page: Page): Promise<void> {
  await page.evaluate((url) => {
    const video = document.querySelector("video") as HTMLVideoElement;
    video.src = "/film.webm";
    window.errors = [];
    window.player = window.playhead.attachPlayer(video, { url, token: "t", fileId: "f", userId: "u" });
    window.player.on("error", (error) => window.errors.push(error.code));
  }, server.url);
}

/** Plays until the element is at the place. @returns where it is then */
function playUntil(page: Page, seconds: number): Promise<number> {
  return page.evaluate(async (until) => {
    const video = document.querySelector("video") as HTMLVideoElement;
    await video.play();
    while (video.currentTime < until && !video.ended) await new Promise(requestAnimationFrame);
    return video.currentTime;
  }, seconds);
}

function close(page: Page): Promise<void> {
  return page.evaluate(() => window.player.close());
}

/** What was claimed to be played, in milliseconds. */
function claimed() {
  return unionOf(heardBy(server).flatMap(({ played = [] }: Heartbeat) => fromSeconds(played)));
}

describe("an element that loses the file's media", () => {
  it.each([
    ["has no source any more", "none"],
    ["gets a source that does not exist", "/missing.webm"],
    ["gets its next source before the player is closed", "/other.webm"],
  ])("keeps the last position where it %s", async (_, next) => {
    const page = await open();
    const left = await playUntil(page, 2);
    await page.evaluate(async (source) => {
      const video = document.querySelector("video") as HTMLVideoElement;
      if (source === "none") video.removeAttribute("src");
      else video.src = source;
      video.load();
      if (source !== "/other.webm") return;
      await new Promise((resolve) => video.addEventListener("loadeddata", resolve, { once: true }));
    }, next);
    await close(page);
    expect(heardBy(server).at(-1)?.state).toBe("paused");
    // The last sample may be a quarter of a second old.
    expect(Math.abs((heardBy(server).at(-1)?.position ?? 0) - left)).toBeLessThan(0.6);
    expect(claimed().at(-1)?.[1]).toBeGreaterThan(1500);
  });

  it("keeps the last position where the player is closed in the same turn", async () => {
    const page = await open();
    const left = await playUntil(page, 2);
    await page.evaluate(() => {
      const video = document.querySelector("video") as HTMLVideoElement;
      video.removeAttribute("src");
      video.load();
      return window.player.close();
    });
    expect(Math.abs((heardBy(server).at(-1)?.position ?? 0) - left)).toBeLessThan(0.6);
    expect(claimed().at(-1)?.[1]).toBeGreaterThan(1500);
  });

  it("credits nothing of another source, says so once, and goes on when the file's media is back", async () => {
    const page = await open();
    await playUntil(page, 1.5);
    await page.evaluate(() => {
      (document.querySelector("video") as HTMLVideoElement).src = "/other.webm";
    });
    await playUntil(page, 4);
    expect(await page.evaluate(() => window.errors)).toEqual(["source_changed"]);
    await page.evaluate(async () => {
      const video = document.querySelector("video") as HTMLVideoElement;
      video.src = "/film.webm";
      video.currentTime = 4.5;
    });
    await playUntil(page, 5.4);
    await close(page);
    expect(lengthOf(claimed())).toBeGreaterThan(1500);
    expect(claimed().every(([from, to]) => to < 2500 || from > 4000)).toBe(true);
    expect(claimed().at(-1)?.[1]).toBeGreaterThan(5000);
  });

  it("goes on crediting after a change of the quality", async () => {
    const page = await open();
    await playUntil(page, 1.5);
    await page.evaluate(async () => {
      const video = document.querySelector("video") as HTMLVideoElement;
      const { currentTime } = video;
      video.src = "/film-low.webm";
      video.currentTime = currentTime;
      await video.play();
    });
    await playUntil(page, 3);
    await close(page);
    expect(await page.evaluate(() => window.errors)).toEqual([]);
    expect(claimed().at(-1)?.[1]).toBeGreaterThan(2500);
    expect(
      Math.min(
        ...heardBy(server)
          .slice(1)
          .map(({ position }) => position),
      ),
    ).toBeGreaterThan(1);
  });
});

it("claims no range of a drag while the media plays", async () => {
  const page = await open();
  await playUntil(page, 1);
  await page.evaluate(async () => {
    const video = document.querySelector("video") as HTMLVideoElement;
    for (let step = 0; step < 15; step++) {
      video.currentTime = 2 + (step % 8) * 0.4;
      await new Promise((resolve) => video.addEventListener("seeked", resolve, { once: true }));
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
    video.currentTime = 3;
  });
  await playUntil(page, 4);
  await close(page);
  expect(claimed()).toHaveLength(2);
  expect(claimed()[0]?.[1]).toBeLessThan(1500);
  expect(claimed()[1]?.[0]).toBeGreaterThan(2900);
});

it("leaves no gap wider than a quarter of a second in a file that was played in three parts", async () => {
  const page = await open();
  const parts = [
    [0, 1.7],
    [4.1, 6],
    [1.7, 4.1],
  ] as const;
  for (const [from, to] of parts) {
    await page.evaluate((place) => {
      const video = document.querySelector("video") as HTMLVideoElement;
      if (place > 0) video.currentTime = place;
    }, from);
    await playUntil(page, to);
  }
  await close(page);
  let end = 0;
  for (const [from, to] of claimed()) {
    expect(from - end).toBeLessThanOrEqual(250);
    end = to;
  }
  expect(6000 - end).toBeLessThanOrEqual(250);
});

it("resumes at once, after a reload without a network, where the page before was left", async () => {
  const page = await open();
  await playUntil(page, 1);
  await server.stop();
  await page.evaluate(() => {
    (document.querySelector("video") as HTMLVideoElement).currentTime = 5.4;
  });
  await vi.waitFor(async () => expect(await page.evaluate(() => window.player.pending)).toBeGreaterThan(0));
  await page.reload();
  await attach(page);
  expect(await page.evaluate(() => window.player.pending)).toBeGreaterThan(0);
  await page.waitForFunction(() => (document.querySelector("video") as HTMLVideoElement).currentTime > 3);
  await server.start();
  await vi.waitFor(async () => expect(await page.evaluate(() => window.player.pending)).toBe(0), { timeout: 30_000 });
});
