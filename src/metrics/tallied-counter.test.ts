import { Registry } from "prom-client";
import { expect, it } from "vitest";
import { TalliedCounter } from "./tallied-counter.ts";

it("adds what a tally counted to its series, at every read, together with what was counted by labels", async () => {
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
