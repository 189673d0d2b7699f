import type { Counter } from "prom-client";
import type { TemplatedApp } from "./uws.ts";

/** The reason with which uWebSockets.js closes a socket that sent too long a frame. The client is not told. */
const TOO_BIG = "Received too big message";

/** Counts the sockets that are closed for too long a frame, which to Socket.IO look like lost connections. */
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
