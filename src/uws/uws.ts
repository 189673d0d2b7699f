import { createRequire } from "node:module";
import type { us_listen_socket, us_socket } from "uws-node20";
import { AppError } from "../errors.ts";

export type {
  AppOptions,
  HttpRequest,
  HttpResponse,
  RecognizedString,
  TemplatedApp,
  us_listen_socket,
  us_socket,
  us_socket_context_t,
  WebSocket,
  WebSocketBehavior,
} from "uws-node20";

/*
 * uWebSockets.js, in the release whose binaries fit this Node: one release has binaries for Node 18 to 23, the other for
 * 24 and 26, linked against a newer glibc. The version of Node decides. Trying one and then the other would not do: under
 * Node 22 the newer release finds the binary of the older one, and loads it.
 */

const FIRST_NODE_OF_NEWER = 24;

type Uws = typeof import("uws-node20");

/** The release for this major version of Node. */
export function pickUws(nodeMajor: number): "uws-node20" | "uws-node24" {
  return nodeMajor < FIRST_NODE_OF_NEWER ? "uws-node20" : "uws-node24";
}

/** Explains why the binary does not load, and what to do. */
export function explainMissing(cause: unknown, node: { version: string; platform: string; arch: string }): string {
  const major = Number(node.version.split(".")[0]);
  const binary = `@uwsjs/${node.platform}-${node.arch}-${major}`;
  const reason = cause instanceof Error ? cause.message : String(cause);
  const lines = [`uWebSockets.js does not load on Node ${node.version}, ${node.platform}-${node.arch}.`];
  if (/GLIBC/.test(reason)) {
    lines.push(
      "On Node 24 and newer it needs glibc 2.38 (Debian 13, Ubuntu 24.04); this system's is older. Use Node 20 or 22 here.",
    );
  } else if (/musl|ld-linux/.test(reason)) {
    lines.push("It needs glibc; Alpine has musl. Use an image based on Debian.");
  } else if (![20, 22, 24, 26].includes(major)) {
    lines.push("It has binaries for Node 20, 22, 24 and 26. Use one of these.");
  } else {
    lines.push(
      `Its binary ${binary} is not installed: npm leaves it out when it runs under another Node, or with --omit=optional.`,
      "Run `npm install` again with this Node. Supported: glibc Linux and macOS on x64 and arm64, Windows on x64.",
    );
  }
  return `${lines.join("\n")}\n(${reason.trim().split("\n").at(-1)})`;
}

function loadUws(): Uws {
  try {
    return createRequire(import.meta.url)(pickUws(Number(process.versions.node.split(".")[0]))) as Uws;
  } catch (cause) {
    throw new AppError(
      "unavailable",
      explainMissing(cause, { version: process.versions.node, platform: process.platform, arch: process.arch }),
      {
        cause,
      },
    );
  }
}

const uws = loadUws();

/** Makes an app without TLS, which a proxy in front of the server ends. */
export const App: Uws["App"] = uws.App;
export const us_listen_socket_close: (listenSocket: us_listen_socket) => void = uws.us_listen_socket_close;
export const us_socket_local_port: (socket: us_socket) => number = uws.us_socket_local_port;
export const DISABLED: Uws["DISABLED"] = uws.DISABLED;
/** The option with which a port is refused, instead of shared, if another process listens on it. */
export const LIBUS_LISTEN_EXCLUSIVE_PORT: number = (uws as Uws & { LIBUS_LISTEN_EXCLUSIVE_PORT: number })
  .LIBUS_LISTEN_EXCLUSIVE_PORT;
