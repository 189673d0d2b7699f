import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createApi, HOOK_SECRET, LEARNER } from "../../test/helpers/http-api.ts";
import { ConfigError, loadConfig } from "../config.ts";
import { BUILT_PAGES } from "./pages/page-routes.ts";

const HTML = '<!doctype html><html><head><link rel="icon" href="./favicon.svg"></head><body></body></html>';
const PUBLIC_PATH = "/apps/progress";
let pages: string;

beforeAll(async () => {
  pages = await mkdtemp(join(tmpdir(), "playhead-pages-"));
  await writeFile(join(pages, "index.html"), HTML);
  await writeFile(join(pages, "watch.html"), HTML);
});

afterAll(() => rm(pages, { recursive: true }));

const behindPath = () => createApi({ pages, config: { PUBLIC_PATH, demo: true } });

describe("behind a public path", () => {
  it.each([
    "/",
    "/watch",
    "/docs/sockets",
    "/openapi.json",
    "/asyncapi.json",
    "/healthz",
    "/readyz",
    "/v1/progress/files/f1",
  ])("%s is answered with and without the path", async (path) => {
    const { call } = behindPath();
    const answers = [await call(path, { as: LEARNER }), await call(PUBLIC_PATH + path, { as: LEARNER })];
    expect(answers.map(({ status }) => status)).toEqual([200, 200]);
    if (path !== "/healthz") expect(answers[1]?.body).toEqual(answers[0]?.body);
  });

  it("hooks are taken, with their query and body", async () => {
    const { call, gate } = behindPath();
    const given = {
      body: "app=live&clientid=1&name=phk_a-key",
      headers: { "content-type": "application/x-www-form-urlencoded" },
    };
    const hook = `/v1/hooks/nginx-rtmp/on_publish?secret=${HOOK_SECRET}`;
    expect((await call(`${PUBLIC_PATH}${hook}`, given)).status).toBe(200);
    expect(gate.publish).toHaveBeenCalledOnce();
  });

  it("a catalogue may be as long as without it", async () => {
    const { call } = behindPath();
    const files = Array.from({ length: 2000 }, (_, i) => ({ id: `f${i}`, title: "x".repeat(50) }));
    const body = { title: "Long", lessons: [{ id: "l1", title: "One", files }] };
    const given = { as: ["ines", "instructor"] as [string, "instructor"], method: "PUT", body };
    expect((await call(`${PUBLIC_PATH}/v1/courses/long`, given)).status).toBe(201);
  });

  it.each([
    [PUBLIC_PATH, `${PUBLIC_PATH}/`],
    [`${PUBLIC_PATH}?part=streams`, `${PUBLIC_PATH}/?part=streams`],
  ])("%s leads to %s, on whatever host and scheme it was asked for", async (from, to) => {
    const { status, headers } = await behindPath().call(from);
    expect([status, headers.get("location")]).toEqual([302, to]);
  });

  it("pages have a <base>, which their policy allows", async () => {
    const { headers, body } = await behindPath().call("/watch");
    expect(body).toContain(`<head><base href="${PUBLIC_PATH}/">`);
    expect(headers.get("content-security-policy")).toContain("base-uri 'self'");
    const without = await createApi({ pages }).call("/watch");
    expect(without.body).toBe(HTML);
    expect(without.headers.get("content-security-policy")).toContain("base-uri 'none'");
    expect(without.headers.get("etag")).not.toBe(headers.get("etag"));
  });

  it("the descriptions of the API name it", async () => {
    const { call } = behindPath();
    expect((await call("/openapi.json")).body.servers).toEqual([{ url: PUBLIC_PATH }]);
    expect((await call("/asyncapi.json")).body.servers.playhead.pathname).toBe(`${PUBLIC_PATH}/socket.io/`);
    expect((await createApi().call("/openapi.json")).body.servers).toEqual([{ url: "/" }]);
  });

  it("metrics are answered without it only, so that no second path leads around a proxy's rule", async () => {
    const { call } = behindPath();
    expect((await call("/metrics")).status).toBe(200);
    expect((await call(`${PUBLIC_PATH}/metrics`)).status).toBe(404);
    expect((await call(`${PUBLIC_PATH}${PUBLIC_PATH}/metrics`)).status).toBe(404);
  });

  it.each(["/apps", "/apps/", "/apps/progressive/healthz", "/apps/progress//healthz", "/APPS/progress/healthz"])(
    "%s is not found",
    async (path) => {
      expect((await behindPath().call(path)).status).toBe(404);
    },
  );
});

it("no address of the server can be the public path, or begin with it", () => {
  const { api } = createApi({ pages: BUILT_PAGES, config: { demo: true } });
  const paths = api.routes.filter(({ method, path }) => method !== "ALL" && path !== "/").map(({ path }) => path);
  expect(paths).toContain("/watch");
  for (const path of [...paths, "/socket.io/"]) {
    const first = path.split(/[/:]+/).slice(0, 2).join("/");
    expect(() => loadConfig({ PUBLIC_PATH: first }), path).toThrow(ConfigError);
  }
});
