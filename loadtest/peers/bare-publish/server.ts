import { App, us_socket_local_port, type WebSocket } from "../../../src/uws/uws.ts";
import { type Content, splitUpdate } from "../../fanout/publishers.ts";
import { serveCommands } from "../../harness/worker.ts";

/*
 * The limit: uWebSockets.js and nothing else. A receiver subscribes by saying a topic; whoever says a content as JSON,
 * and then a number, has it published to every topic of the content.
 */

/** As Playhead's own. */
const MAX_BACKPRESSURE = 1_048_576;

interface Connection {
  content: { topics: string[]; before: string; after: string } | null;
}

async function start(): Promise<{ port: number; pid: number }> {
  const app = App();
  app.ws<Connection>("/*", {
    compression: 0,
    maxPayloadLength: 1024 * 1024,
    maxBackpressure: MAX_BACKPRESSURE,
    idleTimeout: 0,
    upgrade: (response, request, context) => {
      const key = request.getHeader("sec-websocket-key");
      const protocol = request.getHeader("sec-websocket-protocol");
      const extensions = request.getHeader("sec-websocket-extensions");
      response.upgrade<Connection>({ content: null }, key, protocol, extensions, context);
    },
    message: (socket: WebSocket<Connection>, message) => {
      const text = Buffer.from(message).toString();
      const connection = socket.getUserData();
      if (text.startsWith("{")) {
        const { topics, update } = JSON.parse(text) as Content;
        const [before, after] = splitUpdate(update);
        // As many bytes as Playhead's frame has.
        connection.content = { topics, before: `42/dashboard,["update",${before}`, after: `${after}]` };
      } else if (connection.content === null) {
        socket.subscribe(text);
        socket.send("subscribed");
      } else {
        const { topics, before, after } = connection.content;
        const frame = before + text + after;
        for (const topic of topics) app.publish(topic, frame);
      }
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    app.listen("127.0.0.1", 0, (socket) => {
      if (socket) resolve(us_socket_local_port(socket as never));
      else reject(new Error("bare uWebSockets.js got no port"));
    });
  });
  return { port, pid: process.pid };
}

function cpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
}

serveCommands({ start, cpu });
