import { describe, expect, it } from "vitest";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { FirestoreMirror, MirrorChange } from "./firestore-mirror.ts";
import { writeChanges } from "./write-changes.ts";

const refusal = Object.assign(new Error("The value is too large"), { code: 3 });

/** A Firestore that fails as the test says; the emulator cannot. */
function setUp(answer: { commit: (changes: readonly MirrorChange[]) => void; read?: () => void }) {
  const written: string[] = [];
  const mirror = {
    async commit(changes: readonly MirrorChange[]) {
      answer.commit(changes);
      written.push(...changes.map((change) => change.fileId));
    },
    async readFile() {
      answer.read?.();
      return null;
    },
  } as unknown as FirestoreMirror;
  const metrics = createMetrics();
  const parts = { mirror, metrics, logger: createLogger({ level: "silent" }), signal: new AbortController().signal };
  return { parts, written, metrics };
}

const changes = (count: number) =>
  Array.from({ length: count }, (_, i) => ({ userId: "ann", fileId: `${i}`, row: null }));

describe("writing to the mirror", () => {
  it("gives up only the row that Firestore refuses, and writes all others", async () => {
    const { parts, written } = setUp({
      commit: (batch) => {
        if (batch.some(({ fileId }) => fileId === "700")) throw refusal;
      },
    });
    await writeChanges(parts, changes(1200));
    expect(written.sort()).toEqual(
      changes(1200)
        .map(({ fileId }) => fileId)
        .filter((fileId) => fileId !== "700")
        .sort(),
    );
  });

  it("gives up no row where Firestore refuses reads too", async () => {
    const fail = () => {
      throw refusal;
    };
    const { parts } = setUp({ commit: fail, read: fail });
    await expect(writeChanges(parts, changes(3))).rejects.toBe(refusal);
  });

  it.each([
    ["an outage", 14],
    ["a quota", 8],
    ["missing rights", 7],
    ["missing credentials", undefined],
  ])("splits no batch at %s", async (_, code) => {
    const failure = Object.assign(new Error("no"), code === undefined ? {} : { code });
    const { parts, written, metrics } = setUp({
      commit: () => {
        throw failure;
      },
    });
    await expect(writeChanges(parts, changes(3))).rejects.toBe(failure);
    expect(written).toEqual([]);
    expect((await metrics.mirrorFailures.get()).values).toMatchObject([
      { value: 1, labels: { code: `${code ?? "none"}` } },
    ]);
  });
});
