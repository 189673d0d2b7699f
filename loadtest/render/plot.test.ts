import { expect, it } from "vitest";
import { renderPlot } from "./plot.ts";

const PLOT = {
  name: "p",
  title: "Ack latency",
  x: { label: "heartbeats/s", isLog: true },
  y: { label: "p99, ms" },
  series: [
    {
      label: "Playhead",
      points: [[0, 1] as [number, number], [1000, 40] as [number, number], [20_000, 80] as [number, number]],
    },
    { label: "soketi", points: [[1000, 70] as [number, number]] },
  ],
};

it("draws title, axes with units, and a legend, on white", () => {
  const svg = renderPlot(PLOT);
  expect(svg).toMatch(/^<svg /);
  for (const text of ["Ack latency", "heartbeats/s", "p99, ms", "Playhead", "soketi", "20k"])
    expect(svg).toContain(text);
  expect(svg).toMatch(/fill="#ffffff"/i);
});

it("leaves out points without a logarithm, and draws without points", () => {
  expect(renderPlot(PLOT)).not.toMatch(/NaN|Infinity/);
  expect(renderPlot({ ...PLOT, series: [] })).not.toMatch(/NaN|Infinity/);
});
