import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { Server, type Socket } from "socket.io";
import { io } from "socket.io-client";
import { expect, it, onTestFinished } from "vitest";
import { createOutlet } from "./outlet.ts";

/** A client of a plain Socket.IO server, and the frames that would have been published natively. */
async function connect(transports: string[]) {
  const http = createServer().listen(0, "127.0.0.1");
  await once(http, "listening");
  const server = new Server(http);
  const published: [topic: string, frame: string][] = [];
  const app = { publish: (topic: string, frame: string) => published.push([topic, frame]) > 0 };
  const namespace = server.of("/dashboard");
  const outlet = createOutlet(app as never, namespace);
  const connected = new Promise<Socket>((resolve) => namespace.once("connection", resolve));
  const client = io(`http://127.0.0.1:${(http.address() as AddressInfo).port}/dashboard`, { transports });
  onTestFinished(async () => {
    client.disconnect();
    await server.close();
  });
  const nextUpdate = () => new Promise((resolve) => client.once("update", resolve));
  return { outlet, published, client, nextUpdate, socket: await connected };
}

it("publishes the bytes of a Socket.IO event to members connected by WebSocket", async () => {
  const { outlet, published, nextUpdate, socket } = await connect(["websocket"]);
  outlet.join(socket.id, "course:c1");
  outlet.broadcast("course:c1", '{"topic":"course:c1"}');
  expect(published).toEqual([["/dashboard\x1fcourse:c1", '42/dashboard,["update",{"topic":"course:c1"}]']]);
  const update = nextUpdate();
  outlet.send(socket.id, '{"topic":"course:c1","viewers":1}');
  expect(await update).toEqual({ topic: "course:c1", viewers: 1 });
});

it("sends frames to members that poll one by one, until they leave", async () => {
  const { outlet, nextUpdate, client, socket } = await connect(["polling"]);
  outlet.join(socket.id, "course:c1");
  const update = nextUpdate();
  outlet.broadcast("course:c1", '{"topic":"course:c1"}');
  expect(await update).toEqual({ topic: "course:c1" });

  const later: unknown[] = [];
  client.on("update", (got) => later.push(got));
  outlet.leave(socket.id, "course:c1");
  outlet.broadcast("course:c1", '{"topic":"course:c1"}');
  outlet.send(socket.id, '{"topic":"last"}');
  await nextUpdate();
  expect(later).toEqual([{ topic: "last" }]);
});
