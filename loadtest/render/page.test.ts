import { describe, expect, it } from "vitest";
import { judge } from "../harness/aims.ts";
import type { Environment } from "../harness/environment.ts";
import type { Section } from "../harness/section.ts";
import { toTable } from "../harness/table.ts";
import { renderAims, renderForTerminal, renderSection } from "./markdown.ts";
import { type Report, renderPage } from "./page.ts";

const ROWS: [string, number | null][] = [
  ["one | two", 123_456.7],
  ["many", null],
];
const SECTION: Section = {
  command: "fanout",
  title: "Fan-out",
  about: "What was done.",
  takenAt: "2026-11-21T19:30:12.000Z",
  foreignCores: 0.02,
  tables: [
    toTable("Deliveries", ROWS, [
      ["to", ([to]) => to],
      ["deliveries/s", ([, rate]) => rate],
    ]),
  ],
  plots: [{ name: "fanout-rate", title: "Rate", x: { label: "dashboards" }, y: { label: "per second" }, series: [] }],
  aims: judge([{ what: "deliveries/s", atLeast: 4, unit: " × soketi", value: 3, because: "the\nkernel" }]),
  notes: ["a socket\nwas closed"],
};

const ENVIRONMENT: Environment = {
  cores: 2,
  cpu: "Example CPU",
  memoryGb: 24,
  os: "Debian",
  versions: { "Node.js": "20.20.2", soketi: null },
  commit: "0123456789",
  isModified: true,
};

function makeReport(section: Partial<Section>, rest: Partial<Report> = {}): Report {
  return { environment: ENVIRONMENT, isQuick: false, section: { ...SECTION, ...section }, ...rest };
}

describe("a section", () => {
  it("becomes Markdown: tables with figures to the right, plots as pictures, one line for each note", () => {
    const text = renderSection(SECTION);
    expect(text).toContain("## Fan-out\n");
    expect(text).toContain("`npm run loadtest -- fanout`, 2026-11-21 19:30 UTC; other processes took 0.020 cores");
    expect(text).toContain(
      "### Deliveries\n\n| to         | deliveries/s |\n|------------|-------------:|\n| one \\| two |      123,457 |\n| many       |              |\n",
    );
    expect(text).toContain("![Rate](fanout-rate.svg)");
    expect(text).toContain("- a socket was closed");
  });

  it("shows on the terminal why an aim is missed", () => {
    const text = renderForTerminal(SECTION);
    expect(text).toContain("| one \\| two |      123,457 |");
    expect(text).toContain("| deliveries/s | ≥ 4 × soketi | 3 × soketi | **no** | the kernel |");
  });
});

it("shows a missed aim and its cause in one row", () => {
  expect(renderAims(SECTION.aims)).toContain("| deliveries/s | ≥ 4 × soketi | 3 × soketi | **no** | the kernel |");
});

describe("the page", () => {
  it("starts with machine, versions, date and commit, then all aims", () => {
    const text = renderPage([makeReport({}), makeReport({ command: "soak", title: "Soak", aims: [] })]);
    expect(text).toContain("2 cores (Example CPU), 24 GB");
    expect(text).toContain("Node.js 20.20.2, soketi not installed");
    expect(text).toContain("0123456789, with uncommitted changes");
    expect(text).toContain("0 of 1 met.");
    expect(text.indexOf("## Aims")).toBeLessThan(text.indexOf("## Fan-out"));
    expect(text.indexOf("## Fan-out")).toBeLessThan(text.indexOf("## Soak"));
    expect(text).not.toContain("This section:");
  });

  it("marks a section that is of a quick run, or of another commit than the newest one", () => {
    const older = makeReport(
      { command: "soak", takenAt: "2026-11-20T00:00:00.000Z" },
      { isQuick: true, environment: { ...ENVIRONMENT, commit: "abc", isModified: false } },
    );
    expect(renderPage([older, makeReport({})])).toContain(
      "cores meanwhile. This section: a quick run: rough figures; measured on Playhead abc.*",
    );
  });

  it("tells the command if there are no sections", () => {
    expect(renderPage([])).toContain("Nothing was measured yet");
  });
});
