import { describe, expect, it } from "vitest";
import { checkStatement, extensionOf } from "../../test/helpers/xapi-rules.ts";
import { type StatementRow, toActivityId, toFileId, toStatement } from "./statement.ts";

const NAMES = { base: "https://learn.example.org/p", homePage: "https://people.example.org" };
const ROW: StatementRow = {
  seq: "1",
  id: "9d1a9f3e-6b0a-4b43-8f3e-2b1f6a0c7d55",
  stored: new Date("2026-11-01T10:00:01Z"),
  userId: "ann",
  courseId: "c",
  lessonId: "l",
  fileId: "f",
  verb: "completed",
  sessionId: "4c0e5f4e-5d43-4a76-9a0b-06ea43c53a10",
  registration: "0d3c5b4a-1111-4222-8333-444455556666",
  timestamp: new Date("2026-11-01T10:00:00.123Z"),
  title: "Ocean",
  durationMs: 100_000,
  threshold: 0.9,
  positionMs: 95_250,
  watched: [
    [0, 12_000],
    [14_000, 92_001],
  ],
  watchedMs: 90_001,
  watchTimeMs: 218_999,
  reached: true,
};

describe("a statement", () => {
  it("has times with three decimals and a duration with two", () => {
    const statement = toStatement(ROW, NAMES);
    expect(checkStatement(statement)).toEqual([]);
    expect(statement.result).toEqual({
      completion: true,
      duration: "PT218.99S",
      extensions: {
        "https://w3id.org/xapi/video/extensions/time": 95.25,
        "https://w3id.org/xapi/video/extensions/progress": 0.9,
        "https://w3id.org/xapi/video/extensions/played-segments": "0.000[.]12.000[,]14.000[.]92.001",
      },
    });
    expect(statement.timestamp).toBe("2026-11-01T10:00:00.123Z");
  });

  it("is never below a threshold that was reached, and never above what was watched otherwise", () => {
    const file = { durationMs: 7000, watched: [[0, 6301]] as [number, number][], watchedMs: 6301, positionMs: 6301 };
    const progressOf = (row: Partial<StatementRow>) =>
      extensionOf(toStatement({ ...ROW, ...file, ...row }, NAMES), "result", "progress");
    expect(progressOf({ threshold: 0.901 })).toBe(0.901);
    expect(progressOf({ verb: "paused", threshold: 0.901, reached: false })).toBe(0.9);
    expect(progressOf({ watched: [[0, 9000]], watchedMs: 7000 })).toBe(1);
  });

  it("shows nothing past the duration", () => {
    const statement = toStatement({ ...ROW, watched: [[90_000, 130_000]], watchedMs: 10_000, reached: false }, NAMES);
    expect(extensionOf(statement, "result", "played-segments")).toBe("90.000[.]100.000");
  });

  it("names everybody by the id alone, and whatever the ids are", () => {
    for (const id of ["a/b?c#d", "ümlaut 𝒙", "%41", " ", '"']) {
      const statement = toStatement({ ...ROW, userId: id, fileId: id, courseId: id, lessonId: id }, NAMES);
      expect(checkStatement(statement)).toEqual([]);
      expect(statement.actor).toEqual({
        objectType: "Agent",
        account: { homePage: "https://people.example.org", name: id },
      });
      expect(toFileId(NAMES, statement.object.id)).toBe(id);
    }
    expect(toFileId(NAMES, toActivityId(NAMES, "courses", "f"))).toBeNull();
    expect(toFileId(NAMES, `${NAMES.base}/files/%`)).toBeNull();
  });
});
