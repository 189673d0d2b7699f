import { expect, it } from "vitest";
import type { Heartbeat } from "../../protocol/heartbeat.ts";
import type { PresenceReport } from "../bus/bus.ts";
import { reportBeat } from "./report-beat.ts";

const FILE = { courseId: "c", lessonId: "l", fileId: "f" };

function reportOf(beat: Partial<Heartbeat>): PresenceReport | undefined {
  const reports: PresenceReport[] = [];
  const hub = { report: (report: PresenceReport) => void reports.push(report) };
  reportBeat(hub, { userId: "alice", file: FILE, beat: { fileId: "f", position: 5, ...beat }, leaseMs: 30_000 });
  return reports[0];
}

it("reports a player that says nothing of state, rate and age as playing now at normal speed", () => {
  expect(reportOf({})).toEqual({
    ...FILE,
    userId: "alice",
    position: 5,
    state: "playing",
    rate: 1,
    ageMs: 0,
    leaseMs: 30_000,
  });
});

it("reports nobody for a heartbeat that is older than the lease", () => {
  expect(reportOf({ ageMs: 30_000 })).toMatchObject({ ageMs: 30_000 });
  expect(reportOf({ ageMs: 30_001 })).toBeUndefined();
});

it.each([
  ["is paused", { state: "paused" }],
  ["stalls", { state: "playing", rate: 0 }],
  ["seeks", { state: "seeking" }],
  ["is at the end", { state: "ended" }],
] as const)("reports a player whose media %s, however long ago it stopped", (_, beat) => {
  expect(reportOf({ ageMs: 3_600_000, ...beat })).toMatchObject({ ...beat, ageMs: 3_600_000 });
});
