import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AppError } from "../../errors.ts";
import { createLogger } from "../../logger.ts";
import { mergeFigures, type ReportedFigures } from "./reported-figures.ts";
import { StatsWriter } from "./stats-writer.ts";

let stats: StatsWriter;
let written: ReportedFigures[];
let failure: unknown = null;

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "performance"] });
  stats = new StatsWriter({ logger: createLogger({ level: "silent" }) });
  written = [];
  failure = null;
});
afterEach(() => {
  stats.stop();
  expect(vi.getTimerCount()).toBe(0);
  vi.useRealTimers();
});

const away = () => Object.assign(new Error("connect ECONNREFUSED"), { code: "ECONNREFUSED" });
const hasEnded = () => new AppError("conflict", "The session has ended.");

async function write(figures: ReportedFigures): Promise<void> {
  await Promise.resolve();
  if (failure !== null) throw failure;
  written.push(figures);
}

const report = (figures: ReportedFigures, session = "s1") => stats.report(session, figures, write);

describe("reports of a session", () => {
  it("are written at once the first time, and then every two seconds with the newest figures", async () => {
    await report({ bitrateKbps: 1000, viewers: 1 });
    expect(written).toEqual([expect.objectContaining({ bitrateKbps: 1000, viewers: 1 })]);
    for (let i = 2; i <= 100; i++) {
      await report({ bitrateKbps: 1000 * i, viewers: i === 50 ? 999 : i, mediaTimeMs: i });
      await vi.advanceTimersByTimeAsync(20);
    }
    await vi.advanceTimersByTimeAsync(2000);
    expect(written).toHaveLength(2);
    expect(written[1]).toEqual({
      bitrateKbps: 100_000,
      viewers: 100,
      mediaTimeMs: 100,
      peakViewers: 999,
      bitrateReports: 99,
      bitrateSum: 1000 * ((100 * 101) / 2 - 1),
    });
  });

  it("find out by one write whether the session exists, however many come at the same moment", async () => {
    await Promise.all(Array.from({ length: 50 }, (_, i) => report({ viewers: i })));
    expect(written).toHaveLength(1);
    await vi.advanceTimersByTimeAsync(2000);
    expect(written).toHaveLength(2);
    expect(written[1]).toMatchObject({ viewers: 49, peakViewers: 49 });
  });

  it("are all refused when the session does not exist, and nothing waits", async () => {
    failure = hasEnded();
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => report({ viewers: 1 })));
    expect(results.map(({ status }) => status)).toEqual(Array(5).fill("rejected"));
    expect(stats.knows("s1")).toBe(false);
  });

  it("are refused after a later write found the session ended", async () => {
    await report({ viewers: 1 });
    failure = hasEnded();
    await report({ viewers: 2 });
    await vi.advanceTimersByTimeAsync(2000);
    await expect(report({ viewers: 3 })).rejects.toMatchObject({ code: "conflict" });
  });

  it("are kept while the database is away, and written together when it is back", async () => {
    await report({ bitrateKbps: 100, viewers: 1 });
    failure = away();
    for (const viewers of [50, 2, 3]) {
      await vi.advanceTimersByTimeAsync(2500);
      await expect(report({ bitrateKbps: 200, viewers })).resolves.toBeUndefined();
    }
    failure = null;
    await vi.advanceTimersByTimeAsync(2500);
    await report({ bitrateKbps: 400 });
    expect(written).toHaveLength(2);
    expect(written[1]).toEqual({ bitrateKbps: 400, viewers: 3, peakViewers: 50, bitrateSum: 1000, bitrateReports: 4 });
  });

  it("are kept when the database only took too long", async () => {
    await report({ viewers: 1 });
    failure = Object.assign(new Error("canceling statement due to statement timeout"), { code: "57014" });
    await vi.advanceTimersByTimeAsync(2500);
    await expect(report({ viewers: 2 })).resolves.toBeUndefined();
    expect(stats.knows("s1")).toBe(true);
  });

  it("are refused while the database is away and the session is not known", async () => {
    failure = away();
    await expect(report({ viewers: 1 })).rejects.toMatchObject({ code: "ECONNREFUSED" });
    failure = null;
    await report({ viewers: 2 });
    expect(written).toEqual([expect.objectContaining({ viewers: 2 })]);
  });

  it("are all written before the session ends", async () => {
    await report({ viewers: 1 });
    await report({ viewers: 70 });
    await report({ viewers: 3 });
    await stats.flush("s1");
    stats.forget("s1");
    expect(written[1]).toMatchObject({ viewers: 3, peakViewers: 70 });
    await vi.advanceTimersByTimeAsync(10_000);
    expect(written).toHaveLength(2);
  });

  it("are written before the session ends although another write is under way", async () => {
    await report({ viewers: 1 });
    let finish = () => {};
    const slow = async (figures: ReportedFigures) => {
      await new Promise<void>((resolve) => {
        finish = resolve;
      });
      written.push(figures);
    };
    stats.forget("s1");
    const first = stats.report("s1", { viewers: 5 }, slow);
    const flushed = stats.flush("s1").then(() => written.push({ viewers: -1 }));
    await vi.advanceTimersByTimeAsync(0);
    finish();
    await Promise.all([first, flushed]);
    expect(written.map(({ viewers }) => viewers)).toEqual([1, 5, -1]);
  });

  it("are not written after the session has ended", async () => {
    await report({ viewers: 1 });
    await report({ viewers: 2 });
    stats.forget("s1");
    await vi.advanceTimersByTimeAsync(10_000);
    expect(written).toHaveLength(1);
  });
});

it("forgets, past ten thousand sessions, the one that is silent for longest, and none that reports", async () => {
  await report({ viewers: 1 }, "talkative");
  await report({ viewers: 1 }, "silent");
  for (let i = 0; i < 9_999; i++) {
    if (i % 1000 === 0) await report({ viewers: 2 }, "talkative");
    await report({ viewers: 1 }, `other-${i}`);
  }
  expect(stats.knows("talkative")).toBe(true);
  expect(stats.knows("silent")).toBe(false);
});

it("merges reports to the same figures, whichever two are merged first", () => {
  const reports: ReportedFigures[] = [
    { bitrateKbps: 1, viewers: 5 },
    { mediaTimeMs: 7 },
    { viewers: 90 },
    { bitrateKbps: 3 },
    { bitrateKbps: 2, viewers: 4 },
  ];
  const oneByOne = reports.reduce<ReportedFigures | null>(mergeFigures, null);
  const halves = [reports.slice(0, 2), reports.slice(2)].map((half) =>
    half.reduce<ReportedFigures | null>(mergeFigures, null),
  );
  expect(mergeFigures(halves[0] ?? null, halves[1] as ReportedFigures)).toEqual(oneByOne);
  expect(oneByOne).toEqual({
    bitrateKbps: 2,
    viewers: 4,
    mediaTimeMs: 7,
    peakViewers: 90,
    bitrateSum: 6,
    bitrateReports: 3,
  });
});
