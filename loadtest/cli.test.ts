import { describe, expect, it } from "vitest";
import { parseCommandLine } from "./cli.ts";
import { FlagError, readChoice, readWholeNumber } from "./harness/flags.ts";

const COMMANDS = [
  {
    name: "ingest",
    summary: "heartbeats",
    flags: { "--seconds N": "window", "--node FLAGS": "of Node", "--cold-keys N": "how many" },
  },
  { name: "soak", summary: "mixed load", flags: { "--profile DIR": "where" } },
];

const parse = (...args: string[]) => parseCommandLine(args, COMMANDS);

describe("the command line", () => {
  it("runs all subcommands if none is named", () => {
    expect(parse("--quick", "--json", "x.json")).toEqual({
      name: null,
      common: { isQuick: true, json: "x.json", report: null },
      flags: {},
    });
  });

  it("accepts a subcommand's own flags and the common ones, before and after its name", () => {
    expect(parse("--report", "out", "ingest", "--seconds", "3", "--cold-keys=5", "--quick")).toEqual({
      name: "ingest",
      common: { isQuick: true, json: null, report: "out" },
      flags: { seconds: "3", "cold-keys": "5" },
    });
    expect(parse("soak", "--profile", "p")?.flags).toEqual({ profile: "p" });
  });

  it("accepts a value that looks like a flag after an equals sign", () => {
    expect(parse("ingest", "--node=--max-semi-space-size=64")?.flags).toEqual({ node: "--max-semi-space-size=64" });
  });

  it.each([
    [
      ["ingest", "--secs", "3"],
      "unknown option '--secs'; expected one of --quick, --json FILE, --report DIR, --seconds N",
    ],
    [["--seconds", "3"], "unknown option '--seconds'; expected one of --quick"],
    [["ingest", "--seconds", "soon"], "--seconds: got 'soon'; expected a whole number"],
    [["ingest", "--seconds"], "option '--seconds <N>' argument missing"],
    [["write"], "'write': unknown; expected one of ingest, soak"],
    [["ingest", "now"], "too many arguments for 'ingest'"],
  ])("refuses %j in one line", (args, message) => {
    expect(() => parse(...args)).toThrow(FlagError);
    expect(() => parse(...args)).toThrow(message);
    expect(() => parse(...args)).not.toThrow("\n");
  });
});

describe("a flag's value", () => {
  const bounds = { usual: 8, most: 20 };

  it("is the usual one if the flag is absent", () => {
    expect(readWholeNumber({}, "seconds", bounds)).toBe(8);
    expect(readWholeNumber({ seconds: "20" }, "seconds", bounds)).toBe(20);
  });

  it.each(["0", "21", "2.5", "-1", "", "1e1"])("is refused if it is %j", (given) => {
    expect(() => readWholeNumber({ seconds: given }, "seconds", bounds)).toThrow(
      `--seconds: got '${given}'; expected a whole number from 1 to 20`,
    );
  });

  it("has to be one of the expected words", () => {
    expect(readChoice({ only: "b" }, "only", ["a", "b"], "a")).toBe("b");
    expect(() => readChoice({ only: "c" }, "only", ["a", "b"], "a")).toThrow("--only: got 'c'; expected one of a, b");
  });
});
