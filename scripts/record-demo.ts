/*
 * Records docs/images/demo.webp for the README: a learner plays and seeks on the left, and the dashboard follows
 * on the right. `npm run build`, then `npx tsx scripts/record-demo.ts` (needs Chromium and FFmpeg).
 */
import { execFile } from "node:child_process";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import type { Page } from "playwright-core";
import { createBuiltinTokens } from "../src/auth/builtin-tokens.ts";
import { createPlayer } from "../src/client/index.ts";
import { loadConfig } from "../src/config.ts";
import { createLogger } from "../src/logger.ts";
import { startServer } from "../src/server.ts";
import { openPageBrowser } from "../test/helpers/page-browser.ts";
import { requireTool, TOOLS } from "../test/helpers/tools.ts";

const PICTURE = fileURLToPath(new URL("../docs/images/demo.webp", import.meta.url));
/** README loads it before anything else is read. */
const MAX_BYTES = 1_500_000;
const FRAME_MS = 250;
const PAGE_SIZE = { width: 640, height: 600 };
const OTHERS = [
  ["ada.lovelace", 12],
  ["alan.turing", 4],
  ["grace.hopper", 8],
  ["radia.perlman", 17],
] as const;
const SECRET = "only for the picture of the README";

const folder = await mkdtemp(join(tmpdir(), "playhead-demo-"));
const config = loadConfig({
  ...{ PORT: "0", PLAYHEAD_DATA_DIR: join(folder, "data"), AUTH_SECRET: SECRET, DEMO: "true" },
  ...{ BEAT_INTERVAL_MS: "1000", RATE_LIMIT_BURST: "1000" },
});
const server = await startServer({ config, logger: createLogger({ level: "error" }) });
const tokens = createBuiltinTokens({ secret: SECRET, ttlSeconds: 3600 });
const browser = await openPageBrowser();

/** Makes the other learners' rows, so that the dashboard is not empty. */
async function watchAs(userId: string, seconds: number): Promise<void> {
  const { token } = await tokens.mint({ userId, role: "learner" });
  const player = createPlayer({ url: server.url, token, fileId: "demo-intro", storage: null });
  await player.ready;
  player.played(0, seconds);
  player.report({ position: seconds, state: "paused" });
  await player.close();
}

async function open(path: string, button: string): Promise<Page> {
  const context = await browser.newContext({ viewport: PAGE_SIZE });
  const page = await context.newPage();
  await page.goto(`${server.url}${path}`);
  await page.getByRole("button", { name: button }).click();
  await page.locator(".connection.online").waitFor();
  return page;
}

function setPlaying(page: Page, playing: boolean): Promise<void> {
  return page.evaluate(async (on) => {
    const video = document.querySelector("video");
    if (on) await video?.play();
    else video?.pause();
  }, playing);
}

/** Takes pictures of both pages side by side until it is stopped. @returns how long each was to be seen, in seconds */
function record(pages: Page[]): () => Promise<number[]> {
  let recording = true;
  const run = async () => {
    const seconds: number[] = [];
    while (recording) {
      const begun = performance.now();
      const name = String(seconds.length).padStart(4, "0");
      await Promise.all(pages.map((page, side) => page.screenshot({ path: join(folder, `${name}-${side}.png`) })));
      await delay(Math.max(0, FRAME_MS - (performance.now() - begun)));
      seconds.push((performance.now() - begun) / 1000);
    }
    return seconds;
  };
  const done = run();
  return () => {
    recording = false;
    return done;
  };
}

/** Makes one moving picture of the frames. */
async function writePicture(seconds: number[]): Promise<void> {
  for (const side of [0, 1]) {
    const lines = seconds.flatMap((length, at) => [
      `file '${join(folder, `${String(at).padStart(4, "0")}-${side}.png`)}'`,
      `duration ${length.toFixed(3)}`,
    ]);
    await writeFile(join(folder, `side-${side}.txt`), lines.join("\n"));
  }
  const inputs = [0, 1].flatMap((side) => ["-f", "concat", "-safe", "0", "-i", join(folder, `side-${side}.txt`)]);
  const filter = `[0][1]hstack,fps=${1000 / FRAME_MS}`;
  const output = ["-c:v", "libwebp_anim", "-quality", "55", "-compression_level", "6", "-loop", "0", PICTURE];
  await promisify(execFile)(requireTool(TOOLS.ffmpeg), ["-y", ...inputs, "-filter_complex", filter, ...output]);
}

try {
  await Promise.all(OTHERS.map(([userId, seconds]) => watchAs(userId, seconds)));
  const learner = await open("/watch", "Watch as a demo learner");
  const dashboard = await open("/", "Look at the demo course");
  const stop = record([learner, dashboard]);
  await delay(1000);
  await setPlaying(learner, true);
  await learner.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 6);
  // A drag of the playhead counts as nothing watched.
  await learner.evaluate(() => {
    const video = document.querySelector("video");
    if (video) video.currentTime = 14;
  });
  await learner.waitForFunction(() => (document.querySelector("video")?.currentTime ?? 0) > 18);
  await setPlaying(learner, false);
  await delay(2000);
  await writePicture(await stop());
  const { size } = await stat(PICTURE);
  if (size > MAX_BYTES) throw new Error(`docs/images/demo.webp has ${size} bytes; expected ${MAX_BYTES} at most`);
} finally {
  await browser.close();
  await server.stop();
  await rm(folder, { recursive: true, force: true });
}
