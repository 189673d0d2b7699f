import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

/*
 * What both designs that take a POST stand on: Node's HTTP server with keep-alive.
 */

const KEEP_ALIVE_MS = 60_000;

/** Serves on a free port of 127.0.0.1, until the process ends. A request whose handler fails is answered with 500. */
export async function servePosts(
  handle: (request: IncomingMessage, response: ServerResponse) => Promise<void>,
): Promise<{ port: number }> {
  let hasFailed = false;
  const server = createServer((request, response) => {
    handle(request, response).catch((error: unknown) => {
      // Where one fails thousands do; the clients count them.
      if (!hasFailed) console.error(error);
      hasFailed = true;
      response.writeHead(500, { "content-length": 0 }).end();
    });
  });
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port };
}

/** All of it; what the load sends is ASCII. */
export function readBody(request: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    request.setEncoding("latin1");
    request.on("data", (chunk: string) => {
      text += chunk;
    });
    request.on("end", () => resolve(text));
    request.on("error", reject);
  });
}
