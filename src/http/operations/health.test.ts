import { describe, expect, it } from "vitest";
import { createHealth } from "./health.ts";

describe("health", () => {
  it("is ready when every check is ok, and shows every check", async () => {
    const health = createHealth({
      checks: { database: () => ({ ok: true }), listener: async () => ({ ok: true, detail: "relay" }) },
    });
    expect(await health.ready()).toEqual({
      ok: true,
      checks: { database: { ok: true }, listener: { ok: true, detail: "relay" } },
    });
  });

  it("is not ready when one check is not ok", async () => {
    const health = createHealth({
      checks: { database: () => ({ ok: true }), draining: () => ({ ok: false, detail: "the server stops" }) },
    });
    expect((await health.ready()).ok).toBe(false);
  });

  it("shows nothing of an error that a check threw", async () => {
    const health = createHealth({
      checks: {
        database: () => {
          throw new Error("password authentication failed for user postgres at 10.1.2.3");
        },
        listener: () => Promise.reject(new Error("secret")),
      },
    });
    expect(await health.ready()).toEqual({
      ok: false,
      checks: {
        database: { ok: false, detail: "the check failed" },
        listener: { ok: false, detail: "the check failed" },
      },
    });
  });

  it("is not ready when a check does not answer in time", async () => {
    const health = createHealth({ checks: { database: () => new Promise(() => undefined) } }, { timeoutMs: 10 });
    expect(await health.ready()).toEqual({
      ok: false,
      checks: { database: { ok: false, detail: "no answer within 10 ms" } },
    });
  });

  it("is alive even if a check is not ok", () => {
    const health = createHealth({ checks: { database: () => ({ ok: false }) } });
    expect(health.alive()).toEqual({ status: "ok", uptimeSeconds: expect.any(Number) });
  });
});
