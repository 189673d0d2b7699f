import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server } from "socket.io";
import { createBuiltinTokens } from "../../../src/auth/builtin-tokens.ts";
import { serveCommands } from "../../harness/worker.ts";
import { collectGarbage, readProcess } from "./process-readings.ts";

/*
 * Socket.IO on Node's own HTTP server, with `ws`, as its pages on performance and memory advise: WebSocket only, no
 * compression, `bufferutil` installed, the first request let go. It takes the same tokens, and has one handler.
 * https://socket.io/docs/v4/performance-tuning/ and https://socket.io/docs/v4/memory-usage/
 */

async function start({ secret }: { secret: string }): Promise<{ url: string }> {
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 3600 });
  const http = createServer();
  const io = new Server(http, {
    transports: ["websocket"],
    serveClient: false,
    perMessageDeflate: false,
    pingInterval: 15_000,
    pingTimeout: 20_000,
  });
  io.engine.on("connection", (connection: { request: unknown }) => {
    connection.request = null;
  });
  const players = io.of("/player");
  players.use((socket, next) => {
    tokens.verify(String(socket.handshake.auth.token)).then((caller) => {
      socket.data.caller = caller;
      next();
    }, next);
  });
  players.on("connection", (socket) => {
    socket.on("heartbeat", (_beat: unknown, ack: (answer: object) => void) => ack({ ok: true }));
  });
  await new Promise<void>((resolve) => http.listen({ host: "127.0.0.1", port: 0, backlog: 511 }, resolve));
  return { url: `http://127.0.0.1:${(http.address() as AddressInfo).port}` };
}

serveCommands({ start, collectGarbage, read: readProcess });
