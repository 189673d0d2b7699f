import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { createGuard } from "./guard.ts";

function openGuard() {
  const logged: { level: number; what: string; err?: { message: string } }[] = [];
  const logger = pino({ level: "info" }, { write: (line: string) => void logged.push(JSON.parse(line)) });
  return { guard: createGuard(logger), logged };
}

function fail(): never {
  throw new RangeError("Invalid time value");
}

describe("the guard of timers and listeners", () => {
  it.each<[string, () => unknown]>([
    ["throws", fail],
    ["rejects", async () => fail()],
  ])("logs under its name what %s, once until it succeeds", async (_, work) => {
    const { guard, logged } = openGuard();
    for (let i = 0; i < 3; i++) guard("the sweep", work);
    await vi.waitFor(() => expect(logged).toHaveLength(1));
    expect(logged[0]).toMatchObject({ level: 50, what: "the sweep", err: { message: "Invalid time value" } });
    guard("another", work);
    await vi.waitFor(() => expect(logged).toHaveLength(2));
    guard("the sweep", () => undefined);
    guard("the sweep", work);
    await vi.waitFor(() => expect(logged.map(({ level }) => level)).toEqual([50, 50, 30, 50]));
  });

  it("says nothing of work that succeeds", async () => {
    const { guard, logged } = openGuard();
    guard("one", () => undefined);
    guard("two", async () => undefined);
    await Promise.resolve();
    expect(logged).toEqual([]);
  });
});
