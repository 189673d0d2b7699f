import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createWrongKeys } from "./wrong-keys.ts";

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

it("refuses an address after 20 wrong keys, says for how long, and accepts the next wrong key then", () => {
  const wrongKeys = createWrongKeys();
  const count = (address = "192.0.2.1") => wrongKeys.count("edge", address);
  for (let i = 0; i < 20; i++) expect(count()).toBeNull();
  const refusal = count();
  expect(refusal).toMatchObject({ code: "rate_limited", retryAfterMs: 2000 });
  expect(count("192.0.2.2")).toBeNull();
  expect(wrongKeys.count("other", "192.0.2.1")).toBeNull();
  vi.advanceTimersByTime(2000);
  expect(count()).toBeNull();
  expect(count()).not.toBeNull();
});

it.each([
  ["2001:db8:1:2::1", "2001:DB8:1:2:ffff::7"],
  ["192.0.2.1", "::ffff:192.0.2.1"],
  ["192.0.2.1:1935", "192.0.2.1:50123"],
])("counts %s and %s as one encoder", (one, other) => {
  const wrongKeys = createWrongKeys();
  for (let i = 0; i < 10; i++) for (const address of [one, other]) expect(wrongKeys.count("edge", address)).toBeNull();
  for (const address of [one, other]) expect(wrongKeys.count("edge", address)).not.toBeNull();
});

it("refuses a media server after 600 wrong keys over all addresses, with the same error object each time", () => {
  const wrongKeys = createWrongKeys();
  for (let i = 0; i < 600; i++) expect(wrongKeys.count("edge", `address-${i}`)).toBeNull();
  const refusals = Array.from({ length: 1000 }, (_, i) => wrongKeys.count("edge", `more-${i}`));
  expect(refusals[0]).toMatchObject({ code: "rate_limited" });
  expect(new Set(refusals).size).toBe(1);
  expect(wrongKeys.count("other", null)).toBeNull();
});
