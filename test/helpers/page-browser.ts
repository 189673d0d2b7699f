import { type Browser, type BrowserContext, chromium } from "playwright-core";
import { requireTool, TOOLS } from "./tools.ts";

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

/** Starts a browser for the pages. Call `close()` in `afterAll`. */
export function openPageBrowser(): Promise<Browser> {
  return chromium.launch({ executablePath: requireTool(TOOLS.chromium), args: BROWSER_ARGS });
}

/** Collects the errors of all pages of this context from now on, breaches of the security policy among them. */
export function collectProblems(context: BrowserContext): string[] {
  const problems: string[] = [];
  context.on("page", (page) => {
    page.on("pageerror", (error) => problems.push(String(error)));
    page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
  });
  return problems;
}
