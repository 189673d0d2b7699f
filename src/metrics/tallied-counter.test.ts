import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { TalliedCounter } from "./tallied-counter.ts";

it("a tally is its counter's series, whenever that is read, beside what was counted the usual way", async () => {
  const registry = new Registry();
  const counter = new TalliedCounter({ name: "calls", help: "Calls.", labelNames: ["event"], registers: [registry] });
  const beats = counter.tally({ event: "beat" });
  counter.tally({ event: "never" });
  for (let i = 0; i < 3; i++) beats.inc();
  counter.inc({ event: "beat" });
  expect(await registry.metrics()).toContain('calls{event="beat"} 4\n');
  beats.inc();
  expect(await registry.getMetricsAsJSON()).toMatchObject([{ values: [{ labels: { event: "beat" }, value: 5 }] }]);
});
