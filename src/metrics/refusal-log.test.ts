import { pino } from "pino";
import { expect, it } from "vitest";
import { AppError } from "../errors.ts";
import { RefusalLog } from "./refusal-log.ts";

it("writes one line a minute for a state of the server, and one for every other failure", () => {
  const lines: string[] = [];
  let now = 0;
  const logger = pino({ level: "warn" }, { write: (line: string) => void lines.push(JSON.parse(line).msg) });
  const log = new RefusalLog(logger, () => now);
  for (let i = 0; i < 100; i++) {
    log.write(new AppError("unavailable", "The database is away."), "unavailable");
    log.write(new AppError("overloaded", "Too many wait."), "overloaded");
    log.write(new AppError("bad_request", "The client is wrong."), "bad request");
  }
  log.write(new Error("a fault"), "internal");
  log.write(new Error("a fault"), "internal");
  expect(lines).toEqual(["unavailable", "overloaded", "internal", "internal"]);
  now += 60_000;
  log.write(new AppError("unavailable", "The database is still away."), "unavailable");
  expect(lines.at(-1)).toBe("unavailable");
  expect(lines).toHaveLength(5);
});
