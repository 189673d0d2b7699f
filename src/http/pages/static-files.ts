import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { extname, join, relative, sep } from "node:path";

/*
 * A folder of built pages, read into memory when the server starts. A request names a key of a map, so no path can lead out
 * of the folder. Bodies are streams of slices of that memory, so that a slow client costs no copy.
 */

const SLICE_BYTES = 64 * 1024;

const TYPES: Record<string, string> = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".json": "application/json",
  ".map": "application/json",
  ".svg": "image/svg+xml",
  ".png": "image/png",
  ".jpg": "image/jpeg",
  ".webp": "image/webp",
  ".ico": "image/x-icon",
  ".webm": "video/webm",
  ".mp4": "video/mp4",
  ".vtt": "text/vtt; charset=utf-8",
  ".woff2": "font/woff2",
  ".txt": "text/plain; charset=utf-8",
  ".webmanifest": "application/manifest+json",
};

export interface StaticFile {
  /** The path below the folder, with slashes: `assets/index-3f2a.js`. */
  path: string;
  bytes: Uint8Array;
  type: string;
  etag: string;
}

/** Reads every file below the folder, by its path, as `change` makes it. A folder that does not exist has none. */
export function loadStaticFiles(
  folder: string,
  change: (bytes: Uint8Array, path: string) => Uint8Array = (bytes) => bytes,
): Map<string, StaticFile> {
  const files = new Map<string, StaticFile>();
  for (const entry of listFolder(folder)) {
    if (!entry.isFile()) continue;
    const file = join(entry.parentPath, entry.name);
    const path = relative(folder, file).split(sep).join("/");
    const bytes = change(readFileSync(file), path);
    const etag = `"${createHash("sha256").update(bytes).digest("base64url").slice(0, 22)}"`;
    files.set(path, { path, bytes, type: TYPES[extname(path).toLowerCase()] ?? "application/octet-stream", etag });
  }
  return files;
}

function listFolder(folder: string) {
  try {
    return readdirSync(folder, { recursive: true, withFileTypes: true });
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Answers a GET: with the file, one range of it (RFC 9110, 14.2), or 304 if the client's copy is current. */
export function serveStaticFile(file: StaticFile, request: Headers, headers: Record<string, string>): Response {
  const { bytes, etag, type } = file;
  const all = { ...headers, etag, "content-type": type, "accept-ranges": "bytes" };
  if (namesEtag(request.get("if-none-match"), etag)) return new Response(null, { status: 304, headers: all });

  const range = readRange(request, etag, bytes.byteLength);
  if (range === "unsatisfiable") {
    return new Response(null, { status: 416, headers: { ...headers, "content-range": `bytes */${bytes.byteLength}` } });
  }
  const { from, to } = range ?? { from: 0, to: bytes.byteLength };
  return new Response(toStream(bytes.subarray(from, to)), {
    status: range === null ? 200 : 206,
    headers: {
      ...all,
      "content-length": String(to - from),
      ...(range === null ? {} : { "content-range": `bytes ${from}-${to - 1}/${bytes.byteLength}` }),
    },
  });
}

function namesEtag(header: string | null, etag: string): boolean {
  return header?.split(",").some((tag) => tag.trim().replace(/^W\//, "") === etag || tag.trim() === "*") ?? false;
}

/** The range that is asked for, half open. Null, for the whole file, if the header is malformed, has several ranges, or is for an older copy. */
function readRange(
  request: Headers,
  etag: string,
  length: number,
): { from: number; to: number } | "unsatisfiable" | null {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(request.get("range")?.trim() ?? "");
  const condition = request.get("if-range");
  if (match === null || (condition !== null && condition !== etag)) return null;
  const [first, last] = [match[1] ?? "", match[2] ?? ""];
  if (first === "" && last === "") return null;
  if (first === "") {
    const suffix = Math.min(Number(last), length);
    return suffix === 0 ? "unsatisfiable" : { from: length - suffix, to: length };
  }
  if (last !== "" && Number(last) < Number(first)) return null;
  if (Number(first) >= length) return "unsatisfiable";
  return { from: Number(first), to: last === "" ? length : Math.min(Number(last) + 1, length) };
}

function toStream(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream(
    {
      pull(controller) {
        if (at < bytes.byteLength) controller.enqueue(bytes.subarray(at, at + SLICE_BYTES));
        at += SLICE_BYTES;
        if (at >= bytes.byteLength) controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}
