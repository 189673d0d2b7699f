import { once } from "node:events";
import { beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import type { CourseProgress } from "../../src/protocol/progress.ts";
import { type ConnectedServer, useConnectedServer } from "../helpers/connected-server.ts";
import { readMetric } from "../helpers/server-calls.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * A course of 10,000 files: its learner gets all of it, and nobody else waits for that.
 */

const FILES = 10_000;

let server: ConnectedServer;
useConnectedServer((started) => {
  server = started;
});

beforeAll(async () => {
  const { database } = server;
  await database.query("INSERT INTO courses (id, title) VALUES ('long', 'Long'), ('short', 'Short')");
  await database.query(
    `INSERT INTO lessons (id, course_id, title) VALUES ('long-l', 'long', 'One'), ('short-l', 'short', 'One')`,
  );
  await database.query("INSERT INTO users (id) VALUES ('alice')");
  await database.query(
    `INSERT INTO files (id, course_id, lesson_id, title, duration_ms, position) VALUES ('s1', 'short', 'short-l', 'File', 3600000, 1)`,
  );
  await database.query(
    "INSERT INTO user_progress (user_id, file_id, lesson_id, course_id) VALUES ('alice', 's1', 'short-l', 'short')",
  );
  // The planner learns of small courses first, as in a new database. Its plans have to hold for a long one.
  await database.query("ANALYZE");
  await database.query(
    `INSERT INTO files (id, course_id, lesson_id, title, duration_ms, position)
     SELECT 'f' || n, 'long', 'long-l', 'File', 3600000, n FROM generate_series(1, ${FILES}) AS n`,
  );
  await database.query(
    `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, position_ms, watched)
     SELECT 'alice', f.id, f.lesson_id, f.course_id, 7000, w.watched FROM files AS f,
       (SELECT range_agg(int4range(n * 10000, n * 10000 + 5000)) AS watched FROM generate_series(0, 30) AS n) AS w
     WHERE f.course_id = 'long'`,
  );
});
const play = (userId: string) => server.join("/player", userId);

async function read(userId: string): Promise<CourseProgress> {
  const headers = { authorization: `Bearer ${await mintToken(userId)}` };
  const response = await fetch(`${server.url}/v1/progress/courses/long`, { headers });
  expect(response.headers.get("content-type")).toMatch(/^application\/json/);
  return (await response.json()) as CourseProgress;
}

describe("a course of 10,000 files", () => {
  it("is answered whole, by a socket as over HTTP", async () => {
    const alice = await play("alice");
    const answer = await alice.call("progress:get", { courseId: "long" });
    const course = (answer.ok ? answer.progress : null) as unknown as CourseProgress;
    expect(course.files.map(({ fileId }) => fileId)).toEqual(Array.from({ length: FILES }, (_, i) => `f${i + 1}`));
    expect(course.files[5000]?.watched).toHaveLength(31);
    expect(await read("alice")).toEqual(course);
    expect(await read("nobody")).toMatchObject({ totalFiles: FILES, version: 0, files: { length: FILES } });
  });

  it("holds up nobody's heartbeats while it is read", async () => {
    const [alice, bob] = [await play("alice"), await play("bob")];
    await bob.call("heartbeat", { fileId: "s1", position: 1 });
    let [answered, acks] = [0, 0];
    const answers = Array.from({ length: 3 }, async () => {
      expect(await alice.call("progress:get", { courseId: "long" })).toMatchObject({ ok: true });
      answered += 1;
    });
    while (answered === 0) {
      expect(await bob.call("heartbeat", { fileId: "s1", position: 2 + acks })).toMatchObject({ ok: true });
      acks += 1;
    }
    await Promise.all(answers);
    expect(acks).toBeGreaterThan(3);
  });

  it("answers every call of a client that reads late, heartbeats too", async () => {
    const token = await mintToken("alice");
    const client = new WebSocket(`${server.url.replace("http", "ws")}/socket.io/?EIO=4&transport=websocket`);
    const acks = new Map<number, string>();
    let isJoined = false;
    client.on("message", (data) => {
      isJoined ||= data.toString().startsWith("40/player");
      const [, id, body] = /^43\/player,(\d+)\[(.*)/s.exec(data.toString()) ?? [];
      if (id !== undefined) acks.set(Number(id), body as string);
    });
    await once(client, "open");
    client.send(`40/player,${JSON.stringify({ token })}`);
    const ask = (id: number, event: string, payload: object) =>
      client.send(`42/player,${id}${JSON.stringify([event, payload])}`);
    await waitFor(() => isJoined, { what: "the namespace" });
    client.pause();
    for (const id of [1, 2, 3]) ask(id, "progress:get", { courseId: "long" });
    const answered = () => readMetric(server.url, "playhead_socket_calls_total", 'event="progress:get",outcome="ok"');
    const before = await answered();
    await waitFor(async () => (await answered()) > before, { what: "the first answer to wait for its reader" });
    ask(4, "heartbeat", { fileId: "s1", position: 2 });
    // By then answers that did not wait for their reader would have been dropped.
    await read("nobody");
    client.resume();
    await waitFor(() => acks.size === 4, { what: "four acks", timeoutMs: 30_000 });
    for (const body of acks.values()) expect(body.slice(0, 10)).toBe('{"ok":true');
    client.close();
  });
});
