import { init, setPlatformAPI } from "echarts";
import type { Plot } from "../harness/section.ts";
import { formatTick } from "./format.ts";

const SIZE = { width: 820, height: 460 };
const FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif";
const [INK, MUTED, GRID] = ["#1f2328", "#59636e", "#e4e7eb"];
/** The colours of Okabe and Ito, which people with any colour vision can tell apart, without the yellow. */
const COLORS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000", "#8c6d31"];
const SYMBOLS = ["circle", "rect", "triangle", "diamond", "emptyCircle", "emptyRect", "emptyTriangle", "emptyDiamond"];
const DASHES = ["solid", "dashed", "dotted"] as const;

const LEGEND = { left: 16, right: 16, top: 38, itemGap: 16, itemWidth: 28, textStyle: { color: INK, fontSize: 12 } };

// Without a browser no font can be measured. This is the width of the widest font in FONT, so no texts touch.
const LETTER_EM = 0.58;
setPlatformAPI({
  measureText: (text, font) => ({ width: text.length * LETTER_EM * Number(/([\d.]+)px/.exec(font ?? "")?.[1] ?? 12) }),
});

/** Draws a line for each series, on white, so that it is readable on pages of any colour. */
export function renderPlot({ title, x, y, series }: Plot): string {
  const valuesOf = (axis: 0 | 1) => series.flatMap(({ points }) => points.map((point) => point[axis]));
  const chart = init(null, null, { renderer: "svg", ssr: true, ...SIZE });
  try {
    chart.setOption({
      animation: false,
      backgroundColor: "#ffffff",
      color: COLORS,
      textStyle: { fontFamily: FONT, color: INK },
      title: { text: title, left: 16, top: 12, textStyle: { fontSize: 15, fontWeight: 600, color: INK } },
      legend: { show: series.length > 1, type: "plain", ...LEGEND },
      grid: { left: 76, right: 40, top: series.length > 1 ? 56 + legendLines(series) * 22 : 64, bottom: 64 },
      xAxis: { ...toAxis(x, valuesOf(0)), nameGap: 34 },
      yAxis: { ...toAxis(y, valuesOf(1)), nameGap: 52 },
      series: series.map(({ label, points }, i) => ({
        type: "line" as const,
        name: label,
        // Zero has no logarithm.
        data: points.filter(([px, py]) => !(x.isLog && px <= 0) && !(y.isLog && py <= 0)),
        showSymbol: points.length <= 60,
        symbol: SYMBOLS[i % SYMBOLS.length],
        symbolSize: 7,
        lineStyle: { width: 2, type: DASHES[Math.floor(i / COLORS.length) % DASHES.length] },
      })),
    });
    return chart.renderToSVGString();
  } finally {
    chart.dispose();
  }
}

function toAxis({ label, isLog = false }: Plot["x"], values: number[]) {
  return {
    type: isLog ? ("log" as const) : ("value" as const),
    name: label,
    nameLocation: "middle" as const,
    nameTextStyle: { color: INK, fontSize: 12 },
    axisLine: { show: true, lineStyle: { color: MUTED } },
    axisTick: { show: true, lineStyle: { color: MUTED } },
    axisLabel: { color: MUTED, formatter: (value: number) => formatTick(value), hideOverlap: true },
    splitLine: { lineStyle: { color: GRID } },
    minorSplitLine: { show: isLog, lineStyle: { color: "#f3f4f6" } },
    minorTick: { show: isLog, splitNumber: 9 },
    ...(isLog ? logBounds(values) : {}),
  };
}

/** The axis ends next to the figures, at 1, 2 or 5 times a power of ten: whole decades leave half a plot empty. */
function logBounds(values: number[]): { min?: number; max?: number } {
  const positive = values.filter((value) => value > 0);
  if (positive.length === 0) return {};
  const stepsOf = (value: number) => [1, 2, 5, 10].map((step) => step * 10 ** Math.floor(Math.log10(value)));
  const [least, most] = [Math.min(...positive), Math.max(...positive)];
  return {
    min: stepsOf(least).findLast((step) => step <= least * 1.000001) ?? least,
    max: stepsOf(most).find((step) => step >= most * 0.999999) ?? most,
  };
}

/** About how many lines the legend takes, with letters of 12 px, and 50 px for a mark and a gap. */
function legendLines(series: Plot["series"]): number {
  const width = series.reduce((sum, { label }) => sum + label.length * LETTER_EM * 12 + 50, 0);
  return Math.max(1, Math.ceil(width / (SIZE.width - 32)));
}
