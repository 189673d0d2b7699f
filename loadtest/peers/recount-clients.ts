import { connect as connectTcp, type Socket } from "node:net";
import { createBuiltinTokens } from "../../src/auth/builtin-tokens.ts";
import { Latencies } from "../harness/latency.ts";
import { cpuSeconds } from "../harness/process-cpu.ts";
import { serveCommands } from "../harness/worker.ts";
import { toFileId, toUserId, watchedBy } from "../load/catalogue.ts";

/*
 * Clients of the recounting server: keep-alive connections with one request in flight, requests written and
 * responses read by hand, so that they take as little of the cores as the players do.
 */

interface ConnectClients {
  port: number;
  secret: string;
  connections: number;
  users: number;
  shape: { courses: number; files: number };
}

interface Client {
  socket: Socket;
  users: { head: string; fileId: string; seconds: number }[];
  next: number;
  onResponse: (status: number) => void;
}

const clients: Client[] = [];

async function connect({ port, secret, connections, users, shape }: ConnectClients): Promise<void> {
  const tokens = createBuiltinTokens({ secret, ttlSeconds: 3600 });
  for (let i = 0; i < connections; i++) {
    const socket = connectTcp({ port, host: "127.0.0.1", noDelay: true });
    await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    const client: Client = { socket, users: [], next: 0, onResponse: () => undefined };
    readResponses(client);
    clients.push(client);
  }
  // A user belongs to one connection: two requests of one user never wait for each other's row.
  for (let user = 0; user < users; user++) {
    const { token } = await tokens.mint({ userId: toUserId(user), role: "learner" });
    const { course, file } = watchedBy(user, shape);
    const head = `POST /learn/api/progress HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${token}\r\nContent-Type: application/json\r\nContent-Length: `;
    clients[user % connections]?.users.push({ head, fileId: toFileId(course, file), seconds: 0 });
  }
}

function readResponses(client: Client): void {
  let text = "";
  client.socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(text.slice(0, end))?.[1] ?? 0);
    if (text.length < end + 4 + length) return;
    const status = Number(text.slice(9, 12));
    text = text.slice(end + 4 + length);
    client.onResponse(status);
  });
}

async function load({ warmupSeconds, seconds }: { warmupSeconds: number; seconds: number }) {
  const latencies = new Latencies();
  const from = performance.now() + warmupSeconds * 1000;
  const until = from + seconds * 1000;
  let [acked, refused] = [0, 0];
  await Promise.all(
    clients.map(
      (client) =>
        new Promise<void>((resolve, reject) => {
          client.socket.once("close", () => reject(new Error("the peer closed a connection")));
          let sentAt = 0;
          const send = () => {
            sentAt = performance.now();
            client.socket.write(nextRequest(client));
          };
          client.onResponse = (status) => {
            const now = performance.now();
            if (status !== 200) refused += 1;
            else if (now >= from && now < until) {
              acked += 1;
              latencies.add(now - sentAt);
            }
            if (now < until) send();
            else resolve();
          };
          send();
        }),
    ),
  );
  for (const { socket } of clients) socket.removeAllListeners("close");
  return { acked, refused: refused === 0 ? {} : { "not 200": refused }, latencies: latencies.encode() };
}

function nextRequest(client: Client): string {
  const user = client.users[client.next++ % client.users.length] as Client["users"][number];
  user.seconds += 1;
  const body = `{"file_id":"${user.fileId}","progress_seconds":${user.seconds},"progress_percentage":${(user.seconds / 3600).toFixed(2)},"completed":false}`;
  return `${user.head}${body.length}\r\n\r\n${body}`;
}

serveCommands({ connect, load, cpuSeconds });
