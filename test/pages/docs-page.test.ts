import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import axe from "axe-core";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { BUILT_PAGES } from "../../src/http/pages/page-routes.ts";
import { createApi } from "../helpers/http-api.ts";
import { collectProblems, openPageBrowser } from "../helpers/page-browser.ts";

/*
 * The reference pages in a browser, below a path as a proxy serves them.
 */

const PREFIX = "/below/a/path";

/** One route of each method, and one with parameters in the query. All of them would take axe-core a minute. */
const OPENED = ["sendHeartbeats", "listCourses", "putCourse", "deleteCourse", "updateStream"];

let browser: Browser;
let proxy: Server;
let url: string;
let context: BrowserContext;
let problems: string[];
let requested: string[];

beforeAll(async () => {
  browser = await openPageBrowser();
  const { api } = createApi({ pages: BUILT_PAGES, config: { PUBLIC_PATH: PREFIX } });
  proxy = createServer(async (incoming, outgoing) => {
    if (!incoming.url?.startsWith(PREFIX)) {
      outgoing.writeHead(404).end();
      return;
    }
    const response = await api.request(`http://${incoming.headers.host}${incoming.url}`);
    outgoing.writeHead(response.status, Object.fromEntries(response.headers));
    outgoing.end(Buffer.from(await response.arrayBuffer()));
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}${PREFIX}`;
});
afterAll(async () => {
  proxy?.close();
  proxy?.closeAllConnections();
  await browser?.close();
});

async function open(path: string, colorScheme: "light" | "dark"): Promise<Page> {
  context = await browser.newContext({ colorScheme });
  context.setDefaultTimeout(60_000);
  problems = collectProblems(context);
  requested = [];
  context.on("request", (request) => requested.push(request.url()));
  const page = await context.newPage();
  await page.goto(url + path);
  await page.evaluate(axe.source);
  return page;
}

/** What axe-core finds wrong with the page as it is now. */
async function findViolations(page: Page): Promise<string[]> {
  return await page.evaluate(async () => {
    const { violations } = await (window as unknown as { axe: typeof axe }).axe.run(document);
    return violations.map(({ id, nodes }) => `${id}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 200))}`);
  });
}

afterEach(async () => {
  await context?.close();
  expect(problems).toEqual([]);
  expect(requested.filter((address) => !/^(data|blob):/.test(address) && !address.startsWith(url))).toEqual([]);
});

describe.each(["light", "dark"] as const)("in the %s scheme", (scheme) => {
  it("shows every route at /docs, and is accessible with routes of each kind open", async () => {
    const page = await open("/docs", scheme);
    await page.locator(".opblock").first().waitFor();
    expect(await page.locator(".opblock-summary-control").count()).toBeGreaterThan(25);
    for (const id of OPENED) await page.locator(`[id$="-${id}"] .opblock-summary-control`).click();
    await page
      .locator(".opblock.is-open .responses-table")
      .nth(OPENED.length - 1)
      .waitFor();
    await page.locator(".models-control").click();
    await page.getByText("HeartbeatAck").first().waitFor();
    expect(await findViolations(page)).toEqual([]);
  });

  it("shows every event at /docs/sockets, reached from /docs, and is accessible", async () => {
    const page = await open("/docs", scheme);
    await page.getByRole("link", { name: "Sockets" }).click();
    await page.getByRole("heading", { name: "/player" }).waitFor();
    await page.evaluate(() => {
      for (const details of document.querySelectorAll("details")) details.open = true;
    });
    await page.evaluate(axe.source);
    expect(await findViolations(page)).toEqual([]);
    await page.getByRole("link", { name: "HTTP" }).click();
    await page.locator(".opblock").first().waitFor();
  });
});

it("sends a call to the server that the page came from", async () => {
  const page = await open("/docs", "light");
  await page.locator("#operations-Operations-getLiveness .opblock-summary-control").click();
  await page.getByRole("button", { name: "Try it out" }).click();
  await page.getByRole("button", { name: "Execute" }).click();
  await page.locator(".live-responses-table").getByText('"status": "ok"').waitFor();
  expect(requested).toContain(`${url}/healthz`);
});
