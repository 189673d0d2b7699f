import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createRouter, type Router } from "../router.ts";
import { addPageRoutes } from "./page-routes.ts";

const CLIP = Uint8Array.from({ length: 200_000 }, (_, i) => i % 251);
let outside: string;
let app: Router;

beforeAll(async () => {
  outside = await mkdtemp(join(tmpdir(), "playhead-pages-"));
  const folder = join(outside, "dashboard");
  await mkdir(join(folder, "assets"), { recursive: true });
  await writeFile(join(outside, "secret.txt"), "secret");
  await writeFile(join(folder, "index.html"), "<p>dashboard");
  await writeFile(join(folder, "watch.html"), "<p>player");
  await writeFile(join(folder, "assets", "main-1a2b.js"), "export {}");
  await writeFile(join(folder, "assets", "clip-3c4d.webm"), CLIP);
  await symlink(join(outside, "secret.txt"), join(folder, "link.txt"));
  app = createRouter();
  addPageRoutes(app, { pages: folder, version: "1.2.3", config: { PUBLIC_PATH: "" } });
});

afterAll(() => rm(outside, { recursive: true }));

const get = (path: string, headers: Record<string, string> = {}, method = "GET") =>
  app.request(`http://playhead.test${path}`, { headers, method });

describe("the pages", () => {
  it("are at / and /watch, and are revalidated each time", async () => {
    const page = await get("/");
    expect(await page.text()).toBe("<p>dashboard");
    expect(page.headers.get("content-type")).toBe("text/html; charset=utf-8");
    expect(page.headers.get("cache-control")).toBe("no-cache");
    expect(await (await get("/watch")).text()).toBe("<p>player");
  });

  it("may load only from this server, and stand in no frame", async () => {
    const policy = (await get("/")).headers.get("content-security-policy");
    expect(policy).toContain("default-src 'self'");
    expect(policy).toContain("connect-src 'self' ws://playhead.test wss://playhead.test");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toContain("unsafe-eval");
  });

  it("have hashed assets that may be cached forever", async () => {
    const asset = await get("/assets/main-1a2b.js");
    expect(asset.headers.get("content-type")).toBe("text/javascript; charset=utf-8");
    expect(asset.headers.get("cache-control")).toBe("public, max-age=31536000, immutable");
  });

  it("are not sent again to a client whose copy is current", async () => {
    const etag = (await get("/")).headers.get("etag") as string;
    for (const held of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const again = await get("/", { "if-none-match": held });
      expect(again.status).toBe(304);
      expect(await again.text()).toBe("");
    }
    expect((await get("/", { "if-none-match": '"other"' })).status).toBe(200);
  });

  it("answer HEAD with the length and no body", async () => {
    const head = await get("/assets/clip-3c4d.webm", {}, "HEAD");
    expect(head.headers.get("content-length")).toBe(String(CLIP.byteLength));
    expect(await head.text()).toBe("");
  });

  it.each([
    "/../secret.txt",
    "/assets/../../secret.txt",
    "/%2e%2e/secret.txt",
    "/assets/%2e%2e%2f%2e%2e%2fsecret.txt",
    "/..%5csecret.txt",
    "//secret.txt",
    "/link.txt",
    "/assets/",
    "/assets/none.js",
  ])("do not include a file at %s", async (path) => {
    expect((await get(path)).status).toBe(404);
  });

  it("say how to build them, if they are not built", async () => {
    const empty = createRouter();
    addPageRoutes(empty, { pages: join(outside, "not-there"), version: "1.2.3", config: { PUBLIC_PATH: "" } });
    empty.onError((error) => new Response(error.message));
    expect(await (await empty.request("/")).text()).toContain("npm run build");
  });
});

describe("a video", () => {
  const range = (text: string, more: Record<string, string> = {}) =>
    get("/assets/clip-3c4d.webm", { range: text, ...more });
  const isBytes = async (response: Response, bytes: Uint8Array) =>
    Buffer.compare(new Uint8Array(await response.arrayBuffer()), bytes) === 0;

  it("is sent whole, and announces that it has ranges", async () => {
    const whole = await get("/assets/clip-3c4d.webm");
    expect(whole.status).toBe(200);
    expect(whole.headers.get("content-type")).toBe("video/webm");
    expect(whole.headers.get("accept-ranges")).toBe("bytes");
    expect(await isBytes(whole, CLIP)).toBe(true);
  });

  it.each([
    ["bytes=0-0", 0, 1],
    ["bytes=100-199", 100, 200],
    ["bytes=70000-150000", 70_000, 150_001],
    ["bytes=199999-", 199_999, 200_000],
    ["bytes=199000-999999", 199_000, 200_000],
    ["bytes=-10", 199_990, 200_000],
    ["bytes=-999999", 0, 200_000],
  ])("is sent in part for %s", async (text, from, to) => {
    const part = await range(text);
    expect(part.status).toBe(206);
    expect(part.headers.get("content-range")).toBe(`bytes ${from}-${to - 1}/200000`);
    expect(part.headers.get("content-length")).toBe(String(to - from));
    expect(await isBytes(part, CLIP.subarray(from, to))).toBe(true);
  });

  it.each(["bytes=200000-", "bytes=999999-1000000", "bytes=-0"])("has no bytes at %s", async (text) => {
    const none = await range(text);
    expect(none.status).toBe(416);
    expect(none.headers.get("content-range")).toBe("bytes */200000");
  });

  it.each(["bytes=5-2", "bytes=-", "bytes=0-1,5-6", "items=0-1", "bytes=a-b", "bytes=1-99999999999999999999"])(
    "is sent whole for %s, which is no range",
    async (text) => {
      expect((await range(text)).status).toBe(200);
    },
  );

  it("is sent whole if the client's part is of an older copy", async () => {
    expect((await range("bytes=0-9", { "if-range": '"old"' })).status).toBe(200);
    const etag = (await get("/assets/clip-3c4d.webm")).headers.get("etag") as string;
    expect((await range("bytes=0-9", { "if-range": etag })).status).toBe(206);
  });
});
