import { listen } from "../../../src/gateway/listen.ts";
import { App, type WebSocket } from "../../../src/gateway/uws.ts";
import { serveCommands } from "../../harness/worker.ts";

/*
 * What a heartbeat costs a bare uWebSockets.js at the least: the same frames of the same players, the same JSON parse,
 * an ack of the same size, and nothing in between. It speaks just enough Socket.IO for the players to connect.
 */

const OPEN = `0${JSON.stringify({ sid: "bare", upgrades: [], pingInterval: 3_600_000, pingTimeout: 3_600_000, maxPayload: 65_536 })}`;
const CONNECT = "40/player,";
const EVENT = "42/player,";

interface Heartbeat {
  fileId: string;
  position: number;
  played: [number, number][];
}

let beats = 0;

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
      const [, beat] = JSON.parse(text.slice(at)) as [string, Heartbeat];
      // What was parsed is used: nothing of it may be left out.
      if (beat.position >= 0) beats += 1;
      socket.send(`43/player,${text.slice(EVENT.length, at)}${ack}`);
    } else if (text.startsWith(CONNECT)) socket.send(`${CONNECT}{"sid":"bare"}`);
  }

  const { port } = await listen(app, { host: "127.0.0.1", port: 0 });
  return { port };
}

function cpuSeconds(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

serveCommands({ start, cpuSeconds, beats: () => beats });
