import { listen } from "../../../src/uws/listen.ts";
import { App, type WebSocket } from "../../../src/uws/uws.ts";
import { cpuSeconds } from "../../harness/process-cpu.ts";
import { serveCommands } from "../../harness/worker.ts";

/*
 * What a call costs a bare uWebSockets.js at the least: the same frames of the same clients, the same JSON parse, an ack
 * of the same size, and nothing in between. It speaks just enough Socket.IO for them to connect to a namespace.
 */

const OPEN = `0${JSON.stringify({ sid: "bare", upgrades: [], pingInterval: 3_600_000, pingTimeout: 3_600_000, maxPayload: 65_536 })}`;

async function start({ namespace, ack }: { namespace: string; ack: string }): Promise<{ port: number }> {
  const connect = `40${namespace},`;
  const event = `42${namespace},`;
  const app = App();
  app.ws("/socket.io/", {
    maxPayloadLength: 64 * 1024,
    idleTimeout: 0,
    open: (socket) => void socket.send(OPEN),
    message: (socket, message) => onText(socket, Buffer.from(message).toString("latin1")),
  });

  function onText(socket: WebSocket<unknown>, text: string): void {
    if (text.startsWith(event)) {
      const at = text.indexOf("[", event.length);
      const [, payload] = JSON.parse(text.slice(at)) as [string, object | null];
      // What was parsed is used: nothing of it may be left out.
      if (payload === null) return;
      socket.send(`43${namespace},${text.slice(event.length, at)}${ack}`);
    } else if (text.startsWith(connect)) socket.send(`${connect}{"sid":"bare"}`);
  }

  const { port } = await listen(app, { host: "127.0.0.1", port: 0 });
  return { port };
}

serveCommands({ start, cpuSeconds });
