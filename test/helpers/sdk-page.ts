import { execFile } from "node:child_process";
import { readFile, rm } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { build } from "vite";
import { makeTemporaryFolder } from "./temporary-folder.ts";
import { requireTool, TOOLS } from "./tools.ts";

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL("../..", import.meta.url));

/** A site with one page: a video element, and the client library as `window.playhead`. */
export interface SdkSite {
  url: string;
  stop(): Promise<void>;
}

/** The media of the site: two encodings of one film, and another film. */
const MEDIA = {
  "film.webm": { seconds: 6, source: "testsrc", bitrate: "120k" },
  "film-low.webm": { seconds: 6, source: "testsrc", bitrate: "30k" },
  "other.webm": { seconds: 9, source: "testsrc2", bitrate: "60k" },
};

const PAGE = `<!doctype html><meta charset="utf-8"><title>SDK</title><video muted playsinline></video>
<script src="/playhead.js"></script>`;

/** The client library as one script, as an application would bundle it. */
async function bundleSdk(): Promise<string> {
  const result = await build({
    configFile: false,
    root: ROOT,
    logLevel: "warn",
    build: {
      write: false,
      lib: { entry: "src/client/index.ts", name: "playhead", formats: ["iife"], fileName: "playhead" },
    },
  });
  const [first] = [result].flat();
  if (!first || !("output" in first)) throw new Error("expected Vite to build the client library");
  return first.output[0].code;
}

async function encodeMedia(): Promise<Map<string, Buffer>> {
  const folder = await makeTemporaryFolder();
  const files = new Map<string, Buffer>();
  for (const [name, { seconds, source, bitrate }] of Object.entries(MEDIA)) {
    const input = ["-f", "lavfi", "-i", `${source}=size=160x90:rate=15:duration=${seconds}`];
    const output = ["-c:v", "libvpx", "-g", "15", "-b:v", bitrate, "-an", `${folder}/${name}`];
    await run(requireTool(TOOLS.ffmpeg), ["-v", "error", ...input, ...output]);
    files.set(`/${name}`, await readFile(`${folder}/${name}`));
  }
  await rm(folder, { recursive: true });
  return files;
}

/** Serves the page, the library and the media, with ranges, as seeking needs them. */
export async function startSdkSite(): Promise<SdkSite> {
  const script = await bundleSdk();
  const media = await encodeMedia();
  const server = createServer((request, response) => {
    const path = new URL(request.url ?? "/", "http://site").pathname;
    const file = media.get(path);
    if (path === "/") return response.setHeader("content-type", "text/html").end(PAGE);
    if (path === "/playhead.js") return response.setHeader("content-type", "text/javascript").end(script);
    if (!file) return response.writeHead(404).end();
    const [, from = "0", to = ""] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "") ?? [];
    const end = to === "" ? file.length - 1 : Math.min(Number(to), file.length - 1);
    const headers = { "content-type": "video/webm", "accept-ranges": "bytes" };
    if (!request.headers.range) return response.writeHead(200, headers).end(file);
    response.writeHead(206, { ...headers, "content-range": `bytes ${from}-${end}/${file.length}` });
    return response.end(file.subarray(Number(from), end + 1));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
