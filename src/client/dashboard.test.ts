import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type FakeProgressServer, startFakeProgressServer } from "../../test/helpers/fake-progress-server.ts";
import type { Update } from "../protocol/dashboard.ts";
import { createDashboard, type Dashboard, type WatchedTopic } from "./dashboard.ts";

let server: FakeProgressServer;
let dashboard: Dashboard;
let seen: WatchedTopic[];

beforeEach(async () => {
  server = await startFakeProgressServer();
  dashboard = createDashboard({ url: server.url, token: "t" });
  seen = [];
});

afterEach(async () => {
  dashboard.close();
  await server.stop();
});

function frame(version: number, viewers = 1): Update {
  const sums = { totalFiles: 1, completedFiles: 0, totalDuration: 24, watchedDuration: 0, percentage: version };
  const course = { userId: "a", courseId: "c", ...sums, lastWatched: null, lastUpdated: null, version };
  // The clock of this server runs backwards: the number orders frames.
  return { topic: "course:c", n: version, at: new Date(-version * 1000).toISOString(), courses: [course], viewers };
}

function subscribe() {
  return dashboard.subscribe("course:c", (watched) => seen.push(watched));
}

const newest = () => ({ version: seen.at(-1)?.courses[0]?.version, stale: seen.at(-1)?.stale });

it("shows the snapshot and every later frame, also one that overtook the snapshot", async () => {
  server.handle("subscribe", (_, reply, socket) => {
    socket.emit("update", frame(5));
    reply({ ok: true, topic: "course:c", snapshot: frame(4) });
    socket.emit("update", frame(6, 3));
  });
  subscribe();
  await vi.waitFor(() => expect(newest()).toEqual({ version: 6, stale: false }));
  expect(seen[0]?.courses[0]?.version).toBeGreaterThan(4);
  expect(seen.at(-1)?.viewers).toBe(3);
});

it("is stale while the server is away, and shows the new snapshot when it is back", async () => {
  let version = 4;
  server.handle("subscribe", (_, reply) => reply({ ok: true, topic: "course:c", snapshot: frame(version) }));
  subscribe();
  await vi.waitFor(() => expect(newest()).toEqual({ version: 4, stale: false }));
  await server.stop();
  await vi.waitFor(() => expect(newest()).toEqual({ version: 4, stale: true }));
  expect(dashboard.stale).toBe(true);
  version = 2; // A database that was restored from a backup: the snapshot is the truth all the same.
  await server.start();
  await vi.waitFor(() => expect(newest()).toEqual({ version: 2, stale: false }), { timeout: 5000 });
});

it("reports the error of a refused topic", async () => {
  server.handle("subscribe", (_, reply) => reply({ ok: false, error: { code: "forbidden", message: "not yours" } }));
  subscribe();
  await vi.waitFor(() => expect(seen.at(-1)?.error).toEqual({ code: "forbidden", message: "not yours" }));
});

it("subscribes again where the server was too busy", async () => {
  const answers = [{ ok: false, error: { code: "overloaded", message: "busy", retryAfterMs: 20 } }];
  server.handle("subscribe", (_, reply) => reply(answers.pop() ?? { ok: true, topic: "course:c", snapshot: frame(1) }));
  subscribe();
  await vi.waitFor(() => expect(newest()).toEqual({ version: 1, stale: false }));
  expect(seen.at(-1)?.error).toBeNull();
});

it("subscribes once for all listeners of a topic, and unsubscribes with the last one", async () => {
  server.handle("subscribe", (_, reply) => reply({ ok: true, topic: "course:c", snapshot: frame(1) }));
  const [one, two] = [subscribe(), subscribe()];
  await vi.waitFor(() => expect(seen).toHaveLength(2));
  one.unsubscribe();
  two.unsubscribe();
  await vi.waitFor(() => expect(server.calls.map(({ event }) => event)).toEqual(["subscribe", "unsubscribe"]));
});

it("merges rows that came over HTTP by their version", async () => {
  server.handle("subscribe", (_, reply) => reply({ ok: true, topic: "course:c", snapshot: frame(4) }));
  const subscription = subscribe();
  await vi.waitFor(() => expect(seen).toHaveLength(1));
  const [old] = frame(3).courses ?? [];
  if (!old) throw new Error("a frame has a course");
  subscription.merge({ courses: [old, { ...old, userId: "b" }] });
  expect(subscription.current.courses.map(({ userId, version }) => [userId, version])).toEqual([
    ["a", 4],
    ["b", 3],
  ]);
});

it("reports the end of the right to watch a topic", async () => {
  const error = { code: "forbidden" as const, message: "the course is another instructor's now" };
  let end = () => {};
  server.handle("subscribe", (_, reply, socket) => {
    end = () => socket.emit("unsubscribed", { topic: "course:c", error });
    reply({ ok: true, topic: "course:c", snapshot: frame(1) });
  });
  subscribe();
  await vi.waitFor(() => expect(newest()).toEqual({ version: 1, stale: false }));
  end();
  await vi.waitFor(() => expect(seen.at(-1)).toMatchObject({ error, stale: true }));
});
