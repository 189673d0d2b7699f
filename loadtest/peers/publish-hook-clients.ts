import { connect as connectTcp, type Socket } from "node:net";
import { Latencies } from "../harness/latency.ts";
import { serveCommands } from "../harness/worker.ts";

/*
 * Media servers that ask by HTTP: keep-alive connections with one request in flight, written and read by hand.
 */

interface Client {
  socket: Socket;
  onStatus: (status: number) => void;
}

const clients: Client[] = [];
let bodies: string[] = [];
let next = 0;

async function connect(given: { port: number; connections: number; keys: string[] }): Promise<void> {
  bodies = given.keys.map(
    (key, i) => `app=live&addr=192.0.2.7&clientid=${i}&call=publish&name=${key}&type=live&tcurl=rtmp://127.0.0.1/live`,
  );
  for (let i = 0; i < given.connections; i++) {
    const socket = connectTcp({ port: given.port, host: "127.0.0.1", noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    const client: Client = { socket, onStatus: () => undefined };
    let text = "";
    socket.on("data", (chunk) => {
      text += chunk.toString("latin1");
      // No answer has a body.
      if (!text.endsWith("\r\n\r\n")) return;
      const status = Number(text.slice(9, 12));
      text = "";
      client.onStatus(status);
    });
    clients.push(client);
  }
}

async function load({ seconds }: { seconds: number }) {
  const latencies = new Latencies();
  const cpu = process.cpuUsage();
  const until = performance.now() + seconds * 1000;
  let [answered, refused] = [0, 0];
  await Promise.all(
    clients.map(
      (client) =>
        new Promise<void>((resolve, reject) => {
          const onClose = () => reject(new Error("the hook closed a connection"));
          client.socket.once("close", onClose);
          let sentAt = 0;
          const send = () => {
            sentAt = performance.now();
            const body = bodies[next++ % bodies.length] as string;
            client.socket.write(
              `POST /on_publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
              "latin1",
            );
          };
          client.onStatus = (status) => {
            const now = performance.now();
            if (status !== 200) refused += 1;
            else if (now < until) {
              answered += 1;
              latencies.add(now - sentAt);
            }
            if (now < until) send();
            else {
              client.socket.off("close", onClose);
              resolve();
            }
          };
          send();
        }),
    ),
  );
  const { user, system } = process.cpuUsage(cpu);
  const outcomes: Record<string, number> = refused === 0 ? {} : { "not 200": refused };
  return { answered, seconds, latencies: latencies.encode(), outcomes, cpuSeconds: (user + system) / 1e6 };
}

serveCommands({ connect, load });
