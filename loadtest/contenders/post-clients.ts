import { connect as connectTcp, type Socket } from "node:net";
import { serveCommands } from "../harness/child-process.ts";
import { type Answered, type LoadPlan, type LoadResult, OK, runLoad } from "../harness/load.ts";
import { createMint, type Shape, toFileId, toUserId, watchedBy } from "../load/catalogue.ts";

/*
 * Clients of a server that takes POSTs: keep-alive connections, each with one request in flight. They write requests and
 * read responses by hand, to take as little CPU as the players do.
 */

export interface ConnectPosts {
  url: string;
  connections: number;
  /** Absent: the clients post stream keys, as media servers do. */
  heartbeats?: { secret: string; users: number; shape: Shape };
  streamKeys?: string[];
}

interface Client {
  socket: Socket;
  /** Makes the next request. */
  next: () => string;
  answered: Answered;
}

let clients: Client[] = [];

async function connect({ url, connections, heartbeats, streamKeys = [] }: ConnectPosts): Promise<void> {
  const makers =
    heartbeats === undefined
      ? Array.from({ length: connections }, (_, i) => streamKeyPosts(streamKeys, i, connections))
      : await heartbeatPosts(heartbeats, connections);
  clients = await Promise.all(makers.map((next) => openClient(new URL(url), next)));
}

async function openClient({ hostname, port }: URL, next: () => string): Promise<Client> {
  const socket = connectTcp({ port: Number(port), host: hostname, noDelay: true });
  await new Promise<void>((resolve, reject) => socket.once("connect", resolve).once("error", reject));
  const client: Client = { socket, next, answered: () => undefined };
  let text = "";
  socket.on("data", (chunk) => {
    text += chunk.toString("latin1");
    const end = text.indexOf("\r\n\r\n");
    if (end < 0) return;
    const length = Number(/content-length: (\d+)/i.exec(text.slice(0, end))?.[1] ?? 0);
    if (text.length < end + 4 + length) return;
    const status = text.slice(9, 12);
    text = text.slice(end + 4 + length);
    client.answered(status === "200" ? OK : `status ${status}`);
  });
  socket.on("error", () => undefined);
  socket.on("close", () => client.answered("connection closed"));
  return client;
}

function load(plan: LoadPlan): Promise<LoadResult> {
  return runLoad(plan, clients.length, (i, answered) => {
    const client = clients[i] as Client;
    client.answered = answered;
    client.socket.write(client.next(), "latin1");
  });
}

/** Each user has one connection, so two requests never wait for the row of the same user. */
async function heartbeatPosts(
  { secret, users, shape }: NonNullable<ConnectPosts["heartbeats"]>,
  connections: number,
): Promise<(() => string)[]> {
  const mint = createMint(secret);
  const watching = await Promise.all(
    Array.from({ length: users }, async (_, user) => {
      const { course, file } = watchedBy(user, shape);
      const head = `POST /learn/api/progress HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer ${await mint(toUserId(user))}\r\nContent-Type: application/json`;
      return { head, fileId: toFileId(course, file), seconds: 0 };
    }),
  );
  return Array.from({ length: connections }, (_, i) => {
    const own = watching.filter((_, user) => user % connections === i);
    let turn = 0;
    return () => {
      const user = own[turn++ % own.length] as (typeof own)[number];
      user.seconds += 1;
      return toRequest(
        user.head,
        `{"file_id":"${user.fileId}","progress_seconds":${user.seconds},"progress_percentage":${(user.seconds / 3600).toFixed(2)},"completed":false}`,
      );
    };
  });
}

function streamKeyPosts(keys: readonly string[], first: number, step: number): () => string {
  const head = "POST /on_publish HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-www-form-urlencoded";
  const bodies = keys.map(
    (key, i) => `app=live&addr=192.0.2.7&clientid=${i}&call=publish&name=${key}&type=live&tcurl=rtmp://127.0.0.1/live`,
  );
  let next = first;
  return () => {
    const body = bodies[next % bodies.length] as string;
    next += step;
    return toRequest(head, body);
  };
}

function toRequest(head: string, body: string): string {
  return `${head}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
}

serveCommands({ connect, load });
