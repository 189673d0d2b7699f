import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { createTopicState, type TopicView } from "../../src/client/topic-state.ts";
import type { WireError } from "../../src/errors.ts";
import type { Update } from "../../src/protocol/dashboard.ts";
import type { Role } from "../../src/protocol/roles.ts";
import { type ConnectedServer, useConnectedServer } from "../helpers/connected-server.ts";
import type { TestDatabase } from "../helpers/database.ts";
import { putCourse } from "../helpers/server-calls.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * A course is deleted while dashboards watch it: every topic loses its rows, and topics of the course end.
 */

/** More than several frames hold. */
const FILES = 1500;
const OF_THE_COURSE = ["course:c1", "course:c1/user:alice", "lesson:c1-l", "file:c1-0"];

let database: TestDatabase;
let server: ConnectedServer;
useConnectedServer((started) => {
  server = started;
  ({ database } = started);
});

beforeAll(async () => {
  await database.query("INSERT INTO users (id) VALUES ('alice'), ('bob')");
});
beforeEach(async () => {
  for (const id of ["c1", "c2"]) {
    const files = Array.from({ length: id === "c1" ? FILES : 2 }, (_, i) => `${id}-${i}`);
    await putCourse(server.url, id, {
      title: id,
      instructorId: "ines",
      lessons: [
        { id: `${id}-l`, title: "One", files: files.map((file) => ({ id: file, title: file, durationSeconds: 60 })) },
      ],
    });
  }
  await database.query(
    `INSERT INTO user_progress (user_id, file_id, lesson_id, course_id, position_ms)
     SELECT u, id, lesson_id, course_id, 7000 FROM files, unnest(ARRAY['alice', 'bob']) AS u WHERE u = 'alice' OR id = 'c1-0'`,
  );
});
afterEach(async () => {
  await database.query("DELETE FROM courses");
});

/** Watches topics, and builds their state as the SDK does. */
async function watch(userId: string, role: Role, topics: string[]) {
  const client = await server.join("/dashboard", userId, role);
  const states = new Map(topics.map((topic) => [topic, createTopicState(topic, { monotonicMs: () => 0 })]));
  client.socket.on("update", (update: Update) => states.get(update.topic)?.apply(update));
  for (const topic of topics) {
    const answer = await client.call("subscribe", { topic });
    if (!answer.ok) throw new Error(`${topic}: ${answer.error.message}`);
    states.get(topic)?.replace(answer.snapshot);
  }
  return { client, view: (topic: string) => states.get(topic)?.view() as TopicView };
}

async function deleteCourse(id: string): Promise<void> {
  const headers = { authorization: `Bearer ${await mintToken("root", "admin")}` };
  const response = await fetch(`${server.url}/v1/courses/${id}`, { method: "DELETE", headers });
  expect(response.ok).toBe(true);
}

const rowsOf = ({ progress, lessons, courses }: TopicView) => [...progress, ...lessons, ...courses];
const ended = (topic: string) => (event: { topic: string; error: WireError }) => event.topic === topic;

describe("a course that is deleted", () => {
  it.each<[string, Role]>([
    ["ines", "instructor"],
    ["root", "admin"],
  ])("ends its topics, empty, for %s", async (userId, role) => {
    const { client, view } = await watch(userId, role, [...OF_THE_COURSE, "course:c2"]);
    await waitFor(() => view("course:c1").totals?.learners === 2, { what: "both learners" });
    await deleteCourse("c1");
    for (const topic of OF_THE_COURSE) {
      const { error } = await client.hear("unsubscribed", ended(topic));
      expect(error).toMatchObject({ code: "not_found" });
      expect(rowsOf(view(topic))).toEqual([]);
      expect(view(topic).totals?.learners ?? 0).toBe(0);
      expect(await client.call("subscribe", { topic })).toMatchObject({ ok: false });
    }
    expect(client.heard("unsubscribed")).toHaveLength(OF_THE_COURSE.length);
    expect(view("course:c2").courses).toMatchObject([{ userId: "alice" }]);
  });

  it("disappears from the topics of its learners, also while their snapshot is still on its way", async () => {
    const { view } = await watch("root", "admin", ["user:alice", "user:bob"]);
    await waitFor(() => rowsOf(view("user:bob")).length === 3, { what: "bob's rows" });
    expect(view("user:alice").progress.length).toBeLessThan(FILES);
    await deleteCourse("c1");
    await waitFor(() => rowsOf(view("user:alice")).length === 4 && rowsOf(view("user:bob")).length === 0, {
      what: "the rows of the deleted course to go",
      timeoutMs: 30_000,
    });
    for (const row of rowsOf(view("user:alice"))) expect(row.courseId).toBe("c2");
    // Nothing of it comes back.
    await database.query("UPDATE user_progress SET position_ms = 9000 WHERE file_id = 'c2-0'");
    await waitFor(() => view("user:alice").progress.some(({ position }) => position === 9), {
      what: "the next change",
    });
    expect(rowsOf(view("user:alice"))).toHaveLength(4);
  });

  it("ends no topic of a learner, and none of the streams", async () => {
    const { client, view } = await watch("alice", "learner", ["user:alice", "streams"]);
    await deleteCourse("c1");
    await waitFor(() => rowsOf(view("user:alice")).length === 4, { what: "the rows to go", timeoutMs: 30_000 });
    expect(client.heard("unsubscribed")).toEqual([]);
  });
});
