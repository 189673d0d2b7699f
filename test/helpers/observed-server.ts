import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { Server } from "socket.io";
import { loadConfig } from "../../src/config.ts";
import { createLogger } from "../../src/logger.ts";
import { startServer } from "../../src/server.ts";
import type { Observation } from "./observed-server-process.ts";

/*
 * The process that `observeServer` starts: a server that reports its memory and its sockets' buffers. An error that
 * nobody catches ends it, as it ends the real server.
 */

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

interface NativeSocket {
  getBufferedAmount?(): number;
}

let io: Server | null = null;
let mostBuffered = 0;
const attach = Server.prototype.attachApp;
Server.prototype.attachApp = function (this: Server, ...given) {
  io = this;
  attach.apply(this, given);
};

function sampleBuffers(): void {
  for (const name of ["/player", "/dashboard"]) {
    for (const { conn } of io?.of(name).sockets.values() ?? []) {
      if (conn.readyState !== "open") continue;
      const { socket } = conn.transport as unknown as { socket?: NativeSocket };
      mostBuffered = Math.max(mostBuffered, socket?.getBufferedAmount?.() ?? 0);
    }
  }
}

function observe(): Observation {
  collectGarbage();
  collectGarbage();
  const { heapUsed, external, rss } = process.memoryUsage();
  return { heapBytes: heapUsed + external, rssBytes: rss, mostBufferedBytes: mostBuffered, polluted: "polluted" in {} };
}

const config = loadConfig(process.env);
const server = await startServer({ config, logger: createLogger({ level: config.LOG_LEVEL }) });
setInterval(sampleBuffers, 20).unref();
process.on("message", (question: "observe" | "stop") => {
  if (question === "observe") process.send?.(observe());
  else void server.stop().then(() => process.exit(0));
});
process.send?.({ url: server.url });
