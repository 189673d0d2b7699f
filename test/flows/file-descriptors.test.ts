import { afterAll, beforeAll, expect, it } from "vitest";
import { WebSocket } from "ws";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { connect } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * Out of file descriptors: who is connected is served on, and new connections are taken again as soon as others end.
 */

const LIMIT = 200;
let database: TestDatabase;
let server: ServerProcess;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startServerProcess({ env: serverEnv(database, { LOG_LEVEL: "warn" }), descriptors: LIMIT });
  const files = [{ id: "f1", title: "One", durationSeconds: 100 }];
  await putCourse(server.url, "c1", { title: "Course", lessons: [{ id: "l1", title: "One", files }] });
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

it("goes on serving its players where more connect than it has file descriptors", async () => {
  const player = await connect(server.url, "/player", await mintToken("alice"));
  const sockets = Array.from({ length: LIMIT }, () => {
    const socket = new WebSocket(`${server.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
    socket.on("error", () => undefined); // refused
    return socket;
  });
  const settled = () => sockets.filter((socket) => socket.readyState !== WebSocket.CONNECTING);
  await waitFor(() => settled().length === sockets.length, { what: "every connection to be taken or refused" });
  const taken = sockets.filter((socket) => socket.readyState === WebSocket.OPEN);
  expect(taken.length).toBeGreaterThan(50);
  expect(taken.length).toBeLessThan(LIMIT - 44);

  for (let i = 1; i <= 5; i++) {
    expect(await player.call("heartbeat", { fileId: "f1", position: i, seq: i })).toMatchObject({ ok: true });
    expect(await player.call("progress:get", { fileId: "f1" })).toMatchObject({ ok: true });
  }
  expect(server.process.stderr() + server.process.stdout()).toContain("file descriptors run out");

  for (const socket of sockets) socket.terminate();
  await waitFor(async () => (await fetch(`${server.url}/readyz`).catch(() => null))?.status === 200, {
    what: "connections to be taken again",
  });
  player.close();
});
