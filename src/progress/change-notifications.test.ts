import { expect, it } from "vitest";
import { toNotifications } from "./change-notifications.ts";
import type { CatalogueFile } from "./merge-beat.ts";

function toFile(id: string): CatalogueFile {
  return {
    fileId: `f${id}`,
    lessonId: `l${id}`,
    courseId: `c${id}`,
    durationMs: null,
    counted: true,
    completeAtMs: null,
    endMs: null,
    catalogueVersion: 1,
  };
}

it("names every key, with a place for the version that no id can take", () => {
  const users = ["u", 'quote"\\', "\u0001", "ümlaut😀"];
  const [payload = "", ...more] = toNotifications(users.map((userId) => ({ userId, file: toFile("") })));
  expect(more).toEqual([]);
  expect(JSON.parse(payload.replaceAll("\u0001", "7"))).toEqual({
    keys: users.map((userId) => ["c", "l", "f", userId, 7]),
  });
});

it("keeps every payload below 8,000 octets, however long the ids are", () => {
  for (const character of ["a", "\u0001", "😀"]) {
    const id = character.repeat(128 / character.length);
    const changes = Array.from({ length: 200 }, (_, i) => ({ userId: i % 3 === 0 ? "u" : id, file: toFile(id) }));
    const payloads = toNotifications(changes).map((payload) => payload.replaceAll("\u0001", "9007199254740991"));
    for (const payload of payloads) expect(Buffer.byteLength(payload)).toBeLessThan(8000);
    expect(payloads.flatMap((payload) => JSON.parse(payload).keys)).toHaveLength(200);
  }
});

it("names only the courses past 2,000 rows", () => {
  const changes = Array.from({ length: 2001 }, (_, i) => ({ userId: `u${i}`, file: toFile(String(i % 2)) }));
  expect(toNotifications(changes)).toEqual(['{"again":"c0"}', '{"again":"c1"}']);
});

it("says nothing of nothing", () => {
  expect(toNotifications([])).toEqual([]);
});
