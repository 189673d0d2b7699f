import { expect, it } from "vitest";
import { createMetrics } from "./metrics.ts";

it.runIf(process.platform === "linux")("the process's open descriptors are counted", async () => {
  const text = await createMetrics().registry.metrics();
  const count = Number(/^playhead_process_open_fds (\d+)$/m.exec(text)?.[1]);
  expect(count).toBeGreaterThan(2);
});
