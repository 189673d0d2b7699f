import { pino } from "pino";
import { describe, expect, it, vi } from "vitest";
import { createSocketGuard } from "./socket-guard.ts";

function openGuard() {
  const logged: string[] = [];
  const guard = createSocketGuard(pino({ level: "error" }, { write: (line: string) => void logged.push(line) }));
  return { guard, logged, socket: { disconnect: vi.fn() } };
}

describe("the guard of a socket's listeners", () => {
  it.each<[string, () => unknown]>([
    [
      "throws",
      () => {
        throw new RangeError("Invalid time value");
      },
    ],
    ["rejects", () => Promise.reject(new RangeError("Invalid time value"))],
  ])("logs and ends the one socket whose listener %s", async (_, work) => {
    const { guard, logged, socket } = openGuard();
    guard(socket, work);
    await vi.waitFor(() => expect(socket.disconnect.mock.calls).toEqual([[true]]));
    expect(logged).toHaveLength(1);
    expect(logged[0]).toContain("Invalid time value");
  });

  it("does not throw if the socket cannot be ended", () => {
    const { guard, logged, socket } = openGuard();
    socket.disconnect.mockImplementation(() => {
      throw new Error("closed");
    });
    guard(socket, () => {
      throw new Error("first");
    });
    expect(logged).toHaveLength(2);
  });

  it("leaves a socket alone whose listener succeeds", async () => {
    const { guard, logged, socket } = openGuard();
    guard(socket, () => Promise.resolve());
    guard(socket, () => undefined);
    expect(socket.disconnect).not.toHaveBeenCalled();
    expect(logged).toEqual([]);
  });
});
