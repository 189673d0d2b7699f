import { describe, expect, it } from "vitest";
import { isConnectionError, isStorageFault, isTransient, sqlStateOf } from "./sqlstate.ts";

const withCode = (code: string) => Object.assign(new Error("failed"), { code });

describe("an error of the database", () => {
  it.each([
    "40001",
    "40P01",
    "55P03",
    "57P01",
    "57P02",
    "57P03",
    "08006",
    "53100",
    "53200",
    "53300",
    "25006",
    "25P03",
    "40003",
    "58030",
    "ECONNRESET",
    "ECONNREFUSED",
    "EPIPE",
    "EMFILE",
  ])("is transient with the code %s", (code) => expect(isTransient(withCode(code))).toBe(true));

  it.each(["23505", "22003", "42P01", "57014", "ENOENT"])("is not transient with the code %s", (code) =>
    expect(isTransient(withCode(code))).toBe(false),
  );

  it("is transient where pg gives it no code but a message about the connection", () => {
    expect(isTransient(new Error("Connection terminated unexpectedly"))).toBe(true);
    expect(isTransient(new Error("timeout exceeded when trying to connect"))).toBe(true);
    expect(isTransient(new Error("something else"))).toBe(false);
    expect(isTransient("Connection terminated")).toBe(false);
    expect(isTransient(null)).toBe(false);
  });

  it("is transient where every address of a host name failed to connect", () => {
    expect(isTransient(new AggregateError([withCode("ECONNREFUSED"), withCode("EHOSTUNREACH")]))).toBe(true);
  });

  it("is a connection error only where the connection failed, not the statement", () => {
    expect(isConnectionError(withCode("57P01"))).toBe(true);
    expect(isConnectionError(withCode("40001"))).toBe(false);
  });

  it("is a lost connection where nothing can be written on it", () => {
    expect(isConnectionError(withCode("25006"))).toBe(true);
    expect(isConnectionError(withCode("53100"))).toBe(false);
  });

  it("is transient as an internal error only where PostgreSQL's storage raised it", () => {
    const raisedIn = (file: string) => Object.assign(withCode("XX000"), { file });
    expect(isTransient(raisedIn("md.c"))).toBe(true);
    expect(isTransient(raisedIn("trigger.c"))).toBe(false);
    expect(isTransient(withCode("XX000"))).toBe(false);
  });

  it("is a fault of storage where the database is there and cannot store", () => {
    const states = ["53100", "53200", "58030", "25006", "53300", "08006", "57P01"];
    expect(states.filter((state) => isStorageFault(withCode(state)))).toEqual(["53100", "53200", "58030", "25006"]);
  });

  it("has a SQLSTATE only where its code is one", () => {
    expect(sqlStateOf(withCode("23505"))).toBe("23505");
    expect(sqlStateOf(withCode("ECONNRESET"))).toBeUndefined();
    expect(sqlStateOf(undefined)).toBeUndefined();
  });
});
