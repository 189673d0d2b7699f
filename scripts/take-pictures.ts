/*
 * Takes docs/images/{dashboard,watch}.png for docs/start-instructor.md: starts a server, lets a class of learners watch for a while, and
 * takes a picture of both pages. `npm run build`, then `npx tsx scripts/take-pictures.ts` (needs chromium).
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { chromium, type Page } from "playwright-core";
import { createBuiltinTokens } from "../src/auth/builtin-tokens.ts";
import { createPlayer, type Player } from "../src/client/index.ts";
import { loadConfig } from "../src/config.ts";
import { createLogger } from "../src/logger.ts";
import { startServer } from "../src/server.ts";

const NAMES = "ada.lovelace alan.turing barbara.liskov donald.knuth edsger.dijkstra grace.hopper hedy.lamarr".split(
  " ",
);
const MORE_NAMES = "katherine.johnson margaret.hamilton radia.perlman tim.berners-lee".split(" ");
const FILES = ["demo-intro", "demo-watching", "demo-live"];
const SECRET = "only for the pictures of the README";
const IMAGES = fileURLToPath(new URL("../docs/images", import.meta.url));

const dataDir = await mkdtemp(join(tmpdir(), "playhead-pictures-"));
const config = loadConfig({
  ...{ PORT: "0", PLAYHEAD_DATA_DIR: dataDir, AUTH_SECRET: SECRET, DEMO: "true" },
  ...{ BEAT_INTERVAL_MS: "4000", RATE_LIMIT_BURST: "1000" },
});
const server = await startServer({ config, logger: createLogger({ level: "error" }) });
const tokens = createBuiltinTokens({ secret: SECRET, ttlSeconds: 3600 });
const browser = await chromium.launch({
  executablePath: "/usr/bin/chromium",
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"],
});
const players: { player: Player; pause(): void }[] = [];

/** Watches one file after the other in bursts, as fast as the budget allows, and stays somewhere in the last one. */
async function watch(userId: string, index: number): Promise<void> {
  const { token } = await tokens.mint({ userId, role: "learner" });
  for (const [at, fileId] of FILES.slice(0, 1 + (index % 3)).entries()) {
    const isLast = at === index % 3;
    const until = isLast ? 5 + ((index * 7) % 15) : 24;
    const player = createPlayer({ url: server.url, token, fileId, storage: null });
    await player.ready;
    for (let from = 0; from < until; from += 6) {
      player.played(from, Math.min(from + 6, until));
      player.report({ position: Math.min(from + 6, until), state: isLast ? "playing" : "paused" });
      player.beat();
      await delay(1700);
    }
    if (isLast && index < 5) stay(player, until);
    else await player.close();
  }
}

/** Plays on in real time, in a loop. */
function stay(player: Player, from: number): void {
  let position = from;
  const timer = setInterval(() => {
    if (position >= 23) position = 0;
    player.played(position, position + 1);
    player.report({ position: ++position, state: "playing" });
  }, 1000);
  players.push({ player, pause: () => clearInterval(timer) });
}

async function open(path: string, button: string): Promise<Page> {
  const page = await browser.newPage({ viewport: { width: 1180, height: 720 } });
  await page.goto(`${server.url}${path}`);
  await page.getByRole("button", { name: button }).click();
  await page.locator(".connection.online").waitFor();
  return page;
}

try {
  await Promise.all([...NAMES, ...MORE_NAMES].map(watch));
  const learner = await open("/watch", "Watch as a demo learner");
  const video = learner.locator("video");
  await video.evaluate((media: HTMLVideoElement) => media.play());
  await learner.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 7);
  await video.evaluate((media: HTMLVideoElement) => {
    media.currentTime = 11;
    media.loop = true;
  });
  await learner.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 16.4);
  await learner.screenshot({ path: join(IMAGES, "watch.png") });

  const dashboard = await open("/", "Look at the demo course");
  // Waits until the leases of the learners who left have ended. The others, and the learner on the other page, stay.
  await dashboard.waitForFunction(
    (count) => document.querySelectorAll(".viewers li").length === count,
    players.length + 1,
  );
  const [one] = players;
  one?.pause();
  one?.player.report({ position: 4, state: "paused" });
  await dashboard.locator(".viewers .badge.paused").waitFor();
  await dashboard.screenshot({ path: join(IMAGES, "dashboard.png") });
} finally {
  for (const { pause } of players) pause();
  await Promise.all(players.map(({ player }) => player.close()));
  await browser.close();
  await server.stop();
  await rm(dataDir, { recursive: true, force: true });
}
