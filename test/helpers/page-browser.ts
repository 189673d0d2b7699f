import { fileURLToPath } from "node:url";
import { type Browser, type BrowserContext, chromium } from "playwright-core";
import { build } from "vite";
import { findTool, TOOLS } from "./tools.ts";

/*
 * A real browser on freshly built pages.
 */

const BROWSER_ARGS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
  "--autoplay-policy=no-user-gesture-required",
];

/** Builds the pages into dist/dashboard and starts the browser. Call `close()` in `afterAll`. */
export async function openPageBrowser(): Promise<Browser> {
  const executablePath = findTool(TOOLS.chromium);
  if (executablePath === null) throw new Error(`${TOOLS.chromium.name} is missing: apt-get install -y chromium`);
  await build({
    configFile: fileURLToPath(new URL("../../src/dashboard/vite.config.ts", import.meta.url)),
    logLevel: "warn",
  });
  return chromium.launch({ executablePath, args: BROWSER_ARGS });
}

/** What the pages of this context have thrown or reported as an error since; above all breaches of the security policy. */
export function collectProblems(context: BrowserContext): string[] {
  const problems: string[] = [];
  context.on("page", (page) => {
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  });
  return problems;
}
