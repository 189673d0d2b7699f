import { EventEmitter } from "node:events";
import { describe, expect, it, vi } from "vitest";
import { z } from "zod";
import { AppError } from "../errors.ts";
import { createLogger } from "../logger.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { Ack } from "../protocol/ack.ts";
import { type CallHandler, CallTable, type GatewaySocket } from "./call.ts";

const HOUR_MS = 3_600_000;

/** A socket. `receive` hands it an event as Socket.IO does. */
class FakeSocket extends EventEmitter {
  readonly id = "s1";
  readonly nsp = { name: "/player" };
  readonly data = {
    caller: { userId: "alice", role: "learner" as const, expiresAt: new Date(Date.now() + HOUR_MS) },
    topics: new Set<string>(),
    tokenEndsAt: performance.now() + HOUR_MS,
  };
  readonly told: unknown[] = [];
  #any: ((...given: unknown[]) => void)[] = [];

  onAny(listener: (...given: unknown[]) => void): void {
    this.#any.push(listener);
  }

  override emit(event: string, ...given: unknown[]): boolean {
    this.told.push([event, ...given]);
    return true;
  }

  disconnect(): void {}

  receive(...given: unknown[]): void {
    for (const listener of this.#any) listener(...given);
    super.emit(String(given[0]), ...given.slice(1));
  }
}

function createTable(handler: CallHandler<{ n: number }>, take: () => void = () => undefined) {
  const socket = new FakeSocket();
  const metrics = createMetrics();
  const logger = createLogger({ level: "silent" });
  const after = vi.fn();
  const table = new CallTable("/player", { limits: { take }, metrics, logger });
  table.on("add", z.object({ n: z.number() }), handler, { after });
  table.serve(socket as unknown as GatewaySocket);
  return {
    socket,
    after,
    logger,
    call: (...given: unknown[]) => new Promise<Ack>((resolve) => socket.receive(...given, resolve)),
    async counted(outcome: string) {
      const { values } = await metrics.socketCalls.get();
      return values.find(({ labels }) => labels.outcome === outcome)?.value ?? 0;
    },
  };
}

describe("a call", () => {
  it("is acked with the result of its handler, and `after` runs after the ack", async () => {
    const order: string[] = [];
    const { socket, after } = createTable(({ n }) => ({ sum: n + 1 }));
    after.mockImplementation(() => order.push("after"));
    const answer = await new Promise<Ack>((resolve) =>
      socket.receive("add", { n: 1 }, (ack: Ack) => {
        order.push("ack");
        resolve(ack);
      }),
    );
    expect(answer).toEqual({ ok: true, sum: 2 });
    await vi.waitFor(() => expect(order).toEqual(["ack", "after"]));
  });

  it.each([[{ n: "1" }], [null], [undefined], [[]]])(
    "never reaches its handler where its payload does not fit the schema (%j)",
    async (payload) => {
      const handler = vi.fn(() => ({}));
      const { call, after, counted } = createTable(handler);
      expect(await call("add", payload)).toMatchObject({ ok: false, error: { code: "bad_request" } });
      expect(handler).not.toHaveBeenCalled();
      expect(after).not.toHaveBeenCalled();
      expect(await counted("bad_request")).toBe(1);
    },
  );

  it("is refused after the end of the token, before its payload is read", async () => {
    const handler = vi.fn(() => ({}));
    const { socket, call } = createTable(handler);
    socket.data.tokenEndsAt = performance.now() - 1;
    expect(await call("add", { n: 1 })).toMatchObject({ ok: false, error: { code: "unauthenticated" } });
    expect(handler).not.toHaveBeenCalled();
  });

  it("is refused past the limits, before its payload is read", async () => {
    const handler = vi.fn(() => ({}));
    const { call } = createTable(handler, () => {
      throw new AppError("rate_limited", "too many", { retryAfterMs: 5 });
    });
    expect(await call("add", "nonsense")).toEqual({
      ok: false,
      error: { code: "rate_limited", message: "too many", retryAfterMs: 5 },
    });
    expect(handler).not.toHaveBeenCalled();
  });

  it("is logged where its handler fails, and the client does not see the text of the error", async () => {
    const { call, logger } = createTable(async () => {
      throw new Error("the password of the database is hunter2");
    });
    const logged = vi.spyOn(logger, "error");
    const answer = await call("add", { n: 1 });
    expect(answer).toMatchObject({ ok: false, error: { code: "internal" } });
    expect(JSON.stringify(answer)).not.toContain("hunter2");
    expect(logged).toHaveBeenCalledOnce();
  });

  it.each(["nonsense", "__proto__", 5, 0.5, "x".repeat(5000)])(
    "is refused where it is not declared, and the message names the declared ones (%#)",
    async (event) => {
      const { call } = createTable(() => ({}));
      const answer = await call(event, { n: 1 });
      expect(answer).toMatchObject({
        ok: false,
        error: { code: "bad_request", message: expect.stringContaining("the calls are add") },
      });
      expect(JSON.stringify(answer).length).toBeLessThan(400);
    },
  );

  it("does nothing without an ack function, and the client is told so by an event", async () => {
    const handler = vi.fn(() => ({}));
    const { socket } = createTable(handler);
    for (const given of [["add", { n: 1 }], ["add"], ["nonsense"], [5]]) socket.receive(...given);
    await vi.waitFor(() => expect(socket.told).toHaveLength(4));
    expect(socket.told[0]).toMatchObject(["problem", { event: "add", error: { code: "bad_request" } }]);
    expect(handler).not.toHaveBeenCalled();
  });
});
