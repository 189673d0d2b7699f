import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, BrowserContext, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createDashboard, createPlayer } from "../../src/client/index.ts";
import { createRtmpClient } from "../../src/rtmp/rtmp-client.ts";
import { type Balancer, startProxy } from "../helpers/balancer.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { readBlock, substitute } from "../helpers/how-to.ts";
import { collectProblems, openPageBrowser } from "../helpers/page-browser.ts";
import { putCourse } from "../helpers/server-calls.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * A server of two processes at https://host/progress: behind an nginx with the block of docs/operations.md, and with the
 * other blocks that people write for it.
 */

const OPERATIONS = readFileSync(join(import.meta.dirname, "../../docs/operations.md"), "utf8");
const BLOCK = readBlock(OPERATIONS, "nginx", "Behind a path");
const UPSTREAM = "proxy_pass http://127.0.0.1:8080";
const SECRETS = { RTMP_SECRETS: "an-rtmp-secret", HOOK_SECRETS: "a-hook-secret" };

/** The ways in which nginx can be told to show the server at /progress. */
const WAYS: [string, Record<string, string>][] = [
  ["passes the path on", {}],
  ["takes the path away", { [`${UPSTREAM};`]: `${UPSTREAM}/;` }],
  ["passes on what begins with the path", { "location /progress/ {": "location /progress {" }],
  ["rewrites the path", { "location /progress/ {": "location /progress {\n  rewrite ^/progress/?(.*)$ /$1 break;" }],
];

let database: TestDatabase;
let server: ServerProcess;
let browser: Browser;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startFlowServer({
    DATABASE_URL: database.url,
    PUBLIC_PATH: "/progress/",
    WORKERS: "2",
    DEMO: "true",
    TRUST_PROXY: "true",
    BEAT_INTERVAL_MS: "1000",
    HOOKS_PORT: "off",
    ...SECRETS,
  });
  browser = await openPageBrowser();
});

afterAll(async () => {
  await browser?.close();
  await server?.stop();
  await database?.drop();
});

async function callAsAdmin(url: string, method = "GET"): Promise<Response> {
  return fetch(url, { method, headers: { authorization: `Bearer ${await mintToken("root", "admin")}` } });
}

function waitUntilLive(page: Page): Promise<void> {
  return page.locator(".connection.online").waitFor();
}

function startNginx(changes: Record<string, string>): Promise<Balancer> {
  const block = substitute(substitute(BLOCK, changes), { "127.0.0.1:8080": new URL(server.url).host });
  return startProxy(
    ({ port, folder, errorLog }) => `
pid ${folder}/nginx.pid;
error_log ${errorLog} error;
events {}
http {
  access_log off;
  ${["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map((name) => `${name}_temp_path ${folder}/${name};`).join("\n  ")}
  map $http_upgrade $connection_upgrade { default upgrade; '' ''; }
  server { listen 127.0.0.1:${port}; ${block} location / { return 204; } }
}`,
  );
}

describe.each(WAYS)("behind an nginx that %s", (way, changes) => {
  let nginx: Balancer;
  let url: string;
  let context: BrowserContext;
  let problems: string[];
  /** The addresses that pages have asked for outside the path. */
  let outside: string[];

  beforeAll(async () => {
    nginx = await startNginx(changes);
    url = `${nginx.url}/progress`;
    await callAsAdmin(`${server.url}/v1/courses/demo/learners/demo-learner/reset`, "POST");
  });
  afterAll(() => nginx?.stop());

  beforeEach(async () => {
    context = await browser.newContext();
    context.setDefaultTimeout(20_000);
    problems = collectProblems(context);
    outside = [];
    const look = (asked: string) => {
      const { host, pathname } = new URL(asked);
      if (host !== new URL(url).host || !/^\/progress(\/|$)/.test(pathname)) outside.push(asked);
    };
    context.on("request", (request) => look(request.url()));
    context.on("page", (page) => page.on("websocket", (socket) => look(socket.url())));
  });
  afterEach(async () => {
    await context.close();
    expect({ problems, outside, errors: nginx.errors() }).toEqual({ problems: [], outside: [], errors: "" });
  });

  async function open(path: string, button: string): Promise<Page> {
    const page = await context.newPage();
    await page.goto(url + path);
    await page.getByRole("button", { name: button }).click();
    await waitUntilLive(page);
    return page;
  }

  /** Waits for the connection too: the browser reports an attempt that leaving the page ends. */
  async function follow(page: Page, link: string, path: string): Promise<void> {
    await page.getByRole("link", { name: link }).click();
    await page.waitForURL(url + path);
    await waitUntilLive(page);
  }

  it("a learner watches the clip, and the instructor sees it live", async () => {
    const dashboard = await open("/", "Look at the demo course");
    const watch = await open("/watch", "Watch as a demo learner");
    await watch.locator("video").evaluate((video: HTMLVideoElement) => video.play());
    await dashboard.locator(".viewers li", { hasText: "demo-learner" }).getByText("Playing").waitFor();
    const number = dashboard.locator(".learners li", { hasText: "demo-learner" }).locator(".number");
    const read = async () => Number.parseInt((await number.textContent()) ?? "0", 10);
    await number.waitFor();
    const before = await read();
    expect(before).toBeLessThan(50);
    await waitFor(async () => (await read()) > before, { what: "the percentage to rise", timeoutMs: 60_000 });

    await follow(watch, "Streams", "/?part=streams");
    await follow(watch, "Watch", "/watch");
    await follow(dashboard, "Streams", "/?part=streams");
    await dashboard.reload();
    await waitUntilLive(dashboard);
    await follow(dashboard, "Playhead", "/");
  });

  it("the description of the API is read, and its link followed", async () => {
    const page = await context.newPage();
    await page.goto(`${url}/docs`);
    await page.getByRole("link", { name: "openapi.json" }).click();
    await page.waitForURL(`${url}/openapi.json`);
    const { servers, paths } = await (await fetch(`${url}/openapi.json`)).json();
    expect(servers).toEqual([{ url: "/progress" }]);
    expect(Object.keys(paths)).toContain("/v1/heartbeats");
  });

  it("the dashboard opens where the last slash is missing", async () => {
    const page = await context.newPage();
    await page.goto(url);
    await page.getByRole("button", { name: "Look at the demo course" }).waitFor();
  });

  it("a player of the client library gets acks, and a dashboard of it shows the progress", async () => {
    const dashboard = createDashboard({ url, token: await mintToken("root", "admin") });
    const player = createPlayer({ url: `${url}/`, token: await mintToken(way), fileId: "demo-intro" });
    try {
      const shown = dashboard.subscribe("course:demo", () => undefined);
      const acked = new Promise((resolve) => {
        player.on("progress", (progress, how) => how === "acked" && resolve(progress));
      });
      player.played(0, 3);
      player.report({ position: 3, state: "playing" });
      expect(await acked).toMatchObject({ fileId: "demo-intro", watchedSeconds: 3 });
      await waitFor(() => shown.current.courses.some(({ userId }) => userId === way), { what: "the learner" });
    } finally {
      await player.close();
      dashboard.close();
    }
  });

  it("calls, probes, hooks and media servers reach the server, and nobody its metrics", async () => {
    expect((await callAsAdmin(`${url}/v1/courses`)).status).toBe(200);
    // As a page that closes sends its last beats.
    const beats = [{ fileId: "demo-live", position: 4, state: "paused", sessionId: `beacon ${way}`, seq: 1 }];
    const body = JSON.stringify({ beats, token: await mintToken(way) });
    const sent = await fetch(`${url}/v1/heartbeats`, { method: "POST", body });
    expect(await sent.json()).toMatchObject({ results: [{ ok: true }] });
    expect((await fetch(`${url}/healthz`)).status).toBe(200);
    expect((await fetch(`${url}/readyz`)).status).toBe(200);
    const hook = await fetch(`${url}/v1/hooks/nginx-rtmp/on_publish?secret=${SECRETS.HOOK_SECRETS}`, {
      method: "POST",
      body: new URLSearchParams({ app: "live", clientid: "1", name: "phk_unknown" }),
    });
    expect([hook.status, (await hook.json()).code]).toEqual([403, "forbidden"]);
    const media = createRtmpClient({ url, secret: SECRETS.RTMP_SECRETS, server: "ingest-1" });
    try {
      expect(await media.validate({ streamKey: "phk_unknown", connectionId: "1" })).toEqual({
        valid: false,
        reason: "unknown",
      });
    } finally {
      await media.close();
    }
    for (const path of ["/metrics", "/progress/metrics", "/./metrics", "//metrics", "/%6detrics"])
      expect((await fetch(url + path)).status, path).toBe(404);
  });

  it("the page of another origin is refused", async () => {
    const headers = { origin: "https://elsewhere.example" };
    expect((await fetch(`${url}/healthz`, { headers })).status).toBe(403);
    expect((await fetch(`${url}/healthz`, { headers: { origin: nginx.url } })).status).toBe(200);
  });
});

it("finds ids with a slash in them where the path is passed on", async () => {
  const nginx = await startNginx({});
  try {
    const course = {
      title: "Slash",
      lessons: [{ id: "l", title: "One", files: [{ id: "slash/file", title: "File" }] }],
    };
    await putCourse(server.url, "slash/course", course);
    expect((await callAsAdmin(`${nginx.url}/progress/v1/courses/slash%2Fcourse`)).status).toBe(200);
  } finally {
    await nginx.stop();
  }
});

it("answers probes and pages that come directly, without the path", async () => {
  for (const path of ["/healthz", "/readyz", "/metrics", "/", "/watch", "/docs", "/v1/courses"]) {
    const { status } = await fetch(server.url + path);
    expect({ path, status }).toEqual({ path, status: path === "/v1/courses" ? 401 : 200 });
  }
});
