import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server, type Socket } from "socket.io";
import { io } from "socket.io-client";
import { expect, it, onTestFinished } from "vitest";
import { SocketOutlet, SocketSubscriber } from "./outlet.ts";

/** One client of a plain Socket.IO, and what the outlet publishes natively. */
async function connect(transports: string[]) {
  const http = createServer().listen(0, "127.0.0.1");
  await once(http, "listening");
  const server = new Server(http);
  const published: [topic: string, frame: string][] = [];
  const app = { publish: (topic: string, frame: string) => published.push([topic, frame]) > 0 };
  const namespace = server.of("/dashboard");
  const outlet = new SocketOutlet(app as never, namespace);
  const connected = new Promise<Socket>((resolve) => namespace.once("connection", resolve));
  const client = io(`http://127.0.0.1:${(http.address() as AddressInfo).port}/dashboard`, { transports });
  onTestFinished(async () => {
    client.disconnect();
    await server.close();
  });
  const nextUpdate = () => new Promise((resolve) => client.once("update", resolve));
  const subscriber = new SocketSubscriber(outlet, await connected);
  return { outlet, subscriber, published, client, nextUpdate };
}

it("publishes the bytes of a Socket.IO event to sockets that have joined by WebSocket", async () => {
  const { outlet, subscriber, published, nextUpdate } = await connect(["websocket"]);
  subscriber.join("course:c1");
  outlet.broadcast("course:c1", '{"topic":"course:c1"}');
  expect(published).toEqual([["/dashboard\x1fcourse:c1", '42/dashboard,["update",{"topic":"course:c1"}]']]);
  const update = nextUpdate();
  subscriber.send('{"topic":"course:c1","viewers":1}');
  expect(await update).toEqual({ topic: "course:c1", viewers: 1 });
});

it("sends to a socket that polls by itself, until it leaves", async () => {
  const { outlet, subscriber, nextUpdate, client } = await connect(["polling"]);
  subscriber.join("course:c1");
  const update = nextUpdate();
  outlet.broadcast("course:c1", '{"topic":"course:c1"}');
  expect(await update).toEqual({ topic: "course:c1" });

  const later: unknown[] = [];
  client.on("update", (got) => later.push(got));
  subscriber.leave("course:c1");
  outlet.broadcast("course:c1", '{"topic":"course:c1"}');
  subscriber.send('{"topic":"last"}');
  await nextUpdate();
  expect(later).toEqual([{ topic: "last" }]);
});
