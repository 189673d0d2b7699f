import { listen } from "../../src/gateway/listen.ts";
import { App, type WebSocket } from "../../src/gateway/uws.ts";
import { serveCommands } from "../harness/worker.ts";

/*
 * What checking a key costs a bare uWebSockets.js at the least: the same frames of the same media servers, the same
 * JSON parse, an ack of the same size, and nothing in between. It speaks just enough Socket.IO to be connected to.
 */

const OPEN = `0${JSON.stringify({ sid: "bare", upgrades: [], pingInterval: 3_600_000, pingTimeout: 3_600_000, maxPayload: 65_536 })}`;
const CONNECT = "40/rtmp,";
const EVENT = "42/rtmp,";

async function start({ ack }: { ack: string }): Promise<{ port: number }> {
  const app = App();
  app.ws("/socket.io/", {
    maxPayloadLength: 64 * 1024,
    idleTimeout: 0,
    open: (socket) => void socket.send(OPEN),
    message: (socket, message) => onText(socket, Buffer.from(message).toString("latin1")),
  });

  function onText(socket: WebSocket<unknown>, text: string): void {
    if (text.startsWith(EVENT)) {
      const at = text.indexOf("[", EVENT.length);
      const [, asked] = JSON.parse(text.slice(at)) as [string, { streamKey: string }];
      // What was parsed is used: nothing of it may be left out.
      if (asked.streamKey.length === 0) return;
      socket.send(`43/rtmp,${text.slice(EVENT.length, at)}${ack}`);
    } else if (text.startsWith(CONNECT)) socket.send(`${CONNECT}{"sid":"bare"}`);
  }

  const { port } = await listen(app, { host: "127.0.0.1", port: 0 });
  return { port };
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

serveCommands({ start, cpuSeconds });
