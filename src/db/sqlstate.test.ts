import { describe, expect, it } from "vitest";
import { isConnectionError, isTransient, sqlStateOf } from "./sqlstate.ts";

const withCode = (code: string) => Object.assign(new Error("failed"), { code });

describe("what may be tried again", () => {
  it.each([
    "40001",
    "40P01",
    "55P03",
    "57P01",
    "57P02",
    "57P03",
    "08006",
    "53300",
    "25P03",
    "ECONNRESET",
    "ECONNREFUSED",
    "EPIPE",
  ])("%s is transient", (code) => expect(isTransient(withCode(code))).toBe(true));

  it.each(["23505", "22003", "42P01", "57014", "ENOENT"])("%s is not", (code) =>
    expect(isTransient(withCode(code))).toBe(false),
  );

  it("knows the errors of pg that have no code", () => {
    expect(isTransient(new Error("Connection terminated unexpectedly"))).toBe(true);
    expect(isTransient(new Error("timeout exceeded when trying to connect"))).toBe(true);
    expect(isTransient(new Error("something else"))).toBe(false);
    expect(isTransient("Connection terminated")).toBe(false);
    expect(isTransient(null)).toBe(false);
  });

  it("looks into the failures of a name with several addresses", () => {
    expect(isTransient(new AggregateError([withCode("ECONNREFUSED"), withCode("EHOSTUNREACH")]))).toBe(true);
  });

  it("tells a failed connection from a failed statement", () => {
    expect(isConnectionError(withCode("57P01"))).toBe(true);
    expect(isConnectionError(withCode("40001"))).toBe(false);
  });

  it("reads a SQLSTATE only where there is one", () => {
    expect(sqlStateOf(withCode("23505"))).toBe("23505");
    expect(sqlStateOf(withCode("ECONNRESET"))).toBeUndefined();
    expect(sqlStateOf(undefined)).toBeUndefined();
  });
});
