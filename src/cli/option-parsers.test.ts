import { InvalidArgumentError } from "commander";
import { afterEach, describe, expect, it, vi } from "vitest";
import { parseExpiry, parseId, parseTitle, parseUserId, secondsUpTo } from "./option-parsers.ts";

afterEach(() => {
  vi.useRealTimers();
});

describe("the parser of an expiry", () => {
  const now = "2026-11-01T12:00:00.000Z";

  it.each([
    ["90s", "2026-11-01T12:01:30.000Z"],
    ["5m", "2026-11-01T12:05:00.000Z"],
    ["24h", "2026-11-02T12:00:00.000Z"],
    ["7d", "2026-11-08T12:00:00.000Z"],
    ["2w", "2026-11-15T12:00:00.000Z"],
    ["2027-01-31T18:00:00Z", "2027-01-31T18:00:00.000Z"],
    ["2027-01-31T18:00Z", "2027-01-31T18:00:00.000Z"],
    ["2027-01-31T18:00:00.5+02:00", "2027-01-31T16:00:00.500Z"],
  ])("reads %s as %s", (text, expected) => {
    vi.useFakeTimers({ now: new Date(now) });
    expect(parseExpiry(text)).toBe(expected);
  });

  it.each([
    ...["", "24", "h", "1.5h", "-1h", "24 h", "tomorrow", "2027-01-31", "2027-01-31T18:00:00", "2027-13-31T18:00:00Z"],
    ...["2020-01-01T00:00:00Z", now, "0s", "99999999w", "9".repeat(400).concat("d")],
  ])("refuses %j", (text) => {
    vi.useFakeTimers({ now: new Date(now) });
    expect(() => parseExpiry(text)).toThrow(InvalidArgumentError);
  });
});

describe("the parser of seconds", () => {
  it.each([
    ["0", 0],
    ["60", 60],
    ["0060", 60],
  ])("reads %s as %i", (text, expected) => {
    expect(secondsUpTo(60)(text)).toBe(expected);
  });

  it.each(["", " ", "61", "1.5", "-1", "1e1", "0x10", "ten", "9".repeat(40)])("refuses %j", (text) => {
    expect(() => secondsUpTo(60)(text)).toThrow("whole seconds, 0 to 60");
  });
});

it("takes ids and titles that the tables can hold, and refuses all others", () => {
  expect(parseId("a")).toBe("a");
  expect(parseTitle(" A talk ")).toBe("A talk");
  for (const text of ["", "x".repeat(129)]) expect(() => parseId(text)).toThrow("1 to 128 characters");
  for (const text of [".", "..", "a/user:b"]) expect(() => parseUserId(text)).toThrow("A user's id: expected an id");
  expect(parseUserId("a/user")).toBe("a/user");
  for (const text of ["", "  ", "x".repeat(501)]) expect(() => parseTitle(text)).toThrow("1 to 500 characters");
});
