import { listen } from "../../../src/uws/listen.ts";
import { App } from "../../../src/uws/uws.ts";
import { serveCommands } from "../../harness/worker.ts";
import { collectGarbage, readProcess } from "./process-readings.ts";

/*
 * uWebSockets.js and nothing else: what a connection costs at least. Nobody is asked who it is.
 */

/** As Playhead: a ping every 15 s, and gone 20 s later. It pings by itself when half of this is left. */
const IDLE_TIMEOUT_SECONDS = 36;

async function start(): Promise<{ url: string }> {
  const app = App();
  app.ws("/*", { idleTimeout: IDLE_TIMEOUT_SECONDS, message: () => undefined });
  const { port } = await listen(app, { host: "127.0.0.1", port: 0 });
  return { url: `http://127.0.0.1:${port}` };
}

serveCommands({ start, collectGarbage, read: readProcess });
