import { describe, expect, it } from "vitest";
import { AppError } from "../errors.ts";
import { parseTopic, type Topic } from "../protocol/dashboard.ts";
import type { Role } from "../protocol/roles.ts";
import { authorizeTopic } from "./topic-rights.ts";

describe("a topic", () => {
  const long = "x".repeat(128);
  it.each<[string, Topic]>([
    ["streams", { kind: "streams" }],
    ["user:alice", { kind: "user", userId: "alice" }],
    ["course:c1", { kind: "course", courseId: "c1" }],
    ["course:c1/user:alice", { kind: "learner", courseId: "c1", userId: "alice" }],
    ["course:a/user:b/user:c", { kind: "learner", courseId: "a/user:b", userId: "c" }],
    ["course:A/user/user::x", { kind: "learner", courseId: "A/user", userId: ":x" }],
    ["course:A/user:/user", { kind: "learner", courseId: "A", userId: "/user" }],
    ["lesson:l:1", { kind: "lesson", lessonId: "l:1" }],
    ["file:a/user:b", { kind: "file", fileId: "a/user:b" }],
    ["stream:s", { kind: "stream", streamId: "s" }],
    ["user: ", { kind: "user", userId: " " }],
    ["user:\u{1f600}", { kind: "user", userId: "\u{1f600}" }],
    [`course:${long}/user:${long}`, { kind: "learner", courseId: long, userId: long }],
  ])("is read from %j", (name, topic) => {
    expect(parseTopic(name)).toEqual(topic);
  });

  it.each([
    "",
    ":",
    "user",
    "user:",
    ":alice",
    "users:alice",
    "User:alice",
    " user:alice",
    "streams:x",
    "Streams",
    "user:a\u0000",
    "user:\udc00",
    `user:${long}x`,
    `course:${long}x/user:a`,
    `course:a/user:${long}x${long}`,
    "constructor:x",
  ])("is not read from %j", (name) => {
    expect(parseTopic(name)).toBeNull();
  });
});

describe("the right to watch a topic", () => {
  const course = { courseId: "c1", title: "One", instructorId: "ines", acceptReported: true };
  const facts = {
    hasStream: async (id: string) => id === "s1",
    findCourse: async (id: string) =>
      id === "c1" ? course : id === "free" ? { ...course, courseId: id, instructorId: null } : null,
    findLesson: async (id: string) => (id === "l1" ? { lessonId: "l1", courseId: "c1" } : null),
    findFile: async (id: string) => (id === "f1" ? { fileId: "f1", lessonId: "l1", courseId: "c1" } : null),
  };
  const ask = (userId: string, role: Role, name: string) =>
    authorizeTopic({ userId, role, expiresAt: new Date() }, parseTopic(name) as Topic, facts).catch((error: unknown) =>
      error instanceof AppError ? error.code : error,
    );

  it.each<[string, Role, string, string | null]>([
    ["alice", "learner", "user:alice", null],
    ["alice", "learner", "user:bob", "forbidden"],
    ["alice", "learner", "course:c1/user:alice", "forbidden"],
    ["ines", "learner", "course:c1", "forbidden"],
    ["ines", "instructor", "course:c1", "c1"],
    ["ines", "instructor", "course:c1/user:alice", "c1"],
    ["ines", "instructor", "lesson:l1", "c1"],
    ["ines", "instructor", "file:f1", "c1"],
    ["ines", "instructor", "user:alice", "forbidden"],
    ["otto", "instructor", "file:f1", "forbidden"],
    ["otto", "instructor", "course:free", "forbidden"],
    ["otto", "instructor", "course:nowhere", "forbidden"],
    ["root", "admin", "user:alice", null],
    ["root", "admin", "course:free", "free"],
    ["root", "admin", "file:nowhere", "not_found"],
    ["alice", "learner", "streams", null],
    ["alice", "learner", "stream:s1", null],
    ["root", "admin", "stream:nowhere", "not_found"],
  ])("of %s as %s, for %s, is decided: %s", async (userId, role, name, expected) => {
    expect(await ask(userId, role, name)).toBe(expected);
  });
});
