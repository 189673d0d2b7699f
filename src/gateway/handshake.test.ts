import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { createLogger } from "../logger.ts";
import type { GatewaySocket } from "./call.ts";
import { Connections } from "./connections.ts";
import { createHandshake } from "./handshake.ts";

beforeEach(() => {
  vi.useFakeTimers();
});

afterEach(() => {
  vi.useRealTimers();
});

it("refuses a client as unavailable where its token is not checked in time, before the connection is ended", async () => {
  const handshake = createHandshake({
    verifyToken: () => new Promise(() => undefined),
    connections: new Connections(),
    maxConnectionsPerUser: 1,
    isDraining: () => false,
    logger: createLogger({ level: "silent" }),
  });
  const socket = { handshake: { auth: { token: "t" } }, conn: { readyState: "open" }, data: {} };
  const answers: unknown[] = [];
  handshake(socket as unknown as GatewaySocket, (error) => answers.push(error));
  await vi.advanceTimersByTimeAsync(4900);
  expect(answers).toMatchObject([{ data: { code: "unavailable", retryAfterMs: 1000 } }]);
});
