import type { Counter } from "prom-client";
import type { TemplatedApp } from "./uws.ts";

/** How uWebSockets.js closes a socket that sent more than it may: without a word to the client, and this one to us. */
const TOO_BIG = "Received too big message";

/** Counts sockets that are closed for a frame over the limit: to Socket.IO it looks like a lost connection. */
export function countOversizedFrames(app: TemplatedApp, counter: Counter): void {
  const open = app.ws.bind(app) as TemplatedApp["ws"];
  app.ws = ((path, behavior) =>
    open(path, {
      ...behavior,
      close(socket, code, message) {
        if (Buffer.from(message).toString() === TOO_BIG) counter.inc();
        behavior.close?.(socket, code, message);
      },
    })) as TemplatedApp["ws"];
}
