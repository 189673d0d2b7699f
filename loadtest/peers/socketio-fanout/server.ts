import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createAdapter } from "@socket.io/redis-adapter";
import { Redis } from "ioredis";
import { Server } from "socket.io";
import { WebSocketServer } from "ws";
import { type Content, splitUpdate } from "../../fanout/publishers.ts";
import { serveCommands } from "../../harness/worker.ts";

/*
 * Socket.IO as it is deployed: Node's own HTTP server, `ws` (with `bufferutil`), one process of several that its Redis
 * adapter joins. WebSocket only and no compression, as its page on performance advises.
 * https://socket.io/docs/v4/performance-tuning/  https://socket.io/docs/v4/redis-adapter/
 *
 * Rounds come by a bare WebSocket beside it, so that beginning one costs next to nothing.
 */

const NAMESPACE = "/dashboard";
const ROUNDS_PATH = "/rounds";

async function start({ redisUrl }: { redisUrl: string }): Promise<{ port: number; pid: number }> {
  const publisher = new Redis(redisUrl);
  const subscriber = publisher.duplicate();
  const server = createServer();
  const io = new Server(server, {
    transports: ["websocket"],
    perMessageDeflate: false,
    serveClient: false,
    adapter: createAdapter(publisher, subscriber),
  });
  const dashboards = io.of(NAMESPACE);
  dashboards.on("connection", (socket) => {
    // https://socket.io/docs/v4/memory-usage/: the handshake's request is not needed any more.
    Reflect.set(socket.conn, "request", null);
    socket.on("subscribe", (topic: string, done: (answer: object) => void) => {
      socket.join(topic);
      done({ ok: true });
    });
  });

  const rounds = new WebSocketServer({ noServer: true, perMessageDeflate: false });
  server.on("upgrade", (request, socket, head) => {
    if (request.url === ROUNDS_PATH) rounds.handleUpgrade(request, socket, head, (ws) => rounds.emit("connection", ws));
  });
  rounds.on("connection", (ws) => {
    let topics: string[] = [];
    let update: { progress: [{ position: number }] } | null = null;
    ws.on("message", (data: Buffer) => {
      const text = data.toString();
      if (text.startsWith("{")) {
        const content = JSON.parse(text) as Content;
        const [before, after] = splitUpdate(content.update);
        topics = content.topics;
        update = JSON.parse(`${before}0${after}`);
        return;
      }
      if (update === null) return;
      update.progress[0].position = Number(text);
      for (const topic of topics) dashboards.to(topic).emit("update", update);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: (server.address() as AddressInfo).port, pid: process.pid };
}

function cpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

serveCommands({ start, cpu });
