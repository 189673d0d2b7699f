import { vi } from "vitest";
import { AppError } from "../../src/errors.ts";
import type { OwnStream, StreamSession } from "../../src/protocol/stream.ts";
import type { PublishGate } from "../../src/streams/publish-gate.ts";
import type { StreamService } from "../../src/streams/stream-service.ts";

/*
 * A stream service and a publish gate that only remember their calls, for tests of the routes before them.
 */

export const STREAM: OwnStream = {
  id: "s1",
  userId: "alice",
  title: "Talk",
  status: "ready",
  keyPrefix: "phk_abcdef",
  bitrateKbps: null,
  viewers: null,
  expiresAt: null,
  startedAt: null,
  endedAt: null,
  version: 5,
  policy: "first_wins",
  reconnectWindowSeconds: 60,
  previousKeyUntil: null,
  createdAt: "2026-11-01T10:00:00.000Z",
};

const SESSION: StreamSession = {
  id: 3,
  state: "ended",
  server: "nginx",
  app: "live",
  clientIp: "192.0.2.7",
  protocol: "rtmp",
  startedAt: "2026-11-01T10:00:00.000Z",
  endedAt: "2026-11-01T10:01:00.000Z",
  endReason: "unpublished",
  durationSeconds: 60,
  connections: 1,
  peakViewers: 4,
  meanBitrateKbps: 2500,
  provisional: false,
};

/** A service that has the given streams, by id. */
export function fakeStreams(given: Record<string, Partial<OwnStream>> = { s1: {} }) {
  const stored = new Map(Object.entries(given).map(([id, changes]) => [id, { ...STREAM, ...changes, id }]));
  const get = async (id: string) => {
    const stream = stored.get(id);
    if (stream === undefined) throw new AppError("not_found", `No ${id} here.`);
    return stream;
  };
  return {
    create: vi.fn<StreamService["create"]>(async ({ userId, title }) => ({
      stream: { ...STREAM, userId, title },
      streamKey: "phk_new-key",
    })),
    list: vi.fn<StreamService["list"]>(async ({ limit, after, userId }) =>
      [...stored.values()]
        .filter((stream) => stream.id > (after ?? "") && (userId === undefined || stream.userId === userId))
        .slice(0, limit),
    ),
    get: vi.fn<StreamService["get"]>(get),
    change: vi.fn<StreamService["change"]>(async (id, { title = STREAM.title }) => ({ ...(await get(id)), title })),
    rotate: vi.fn<StreamService["rotate"]>(async (id) => ({ stream: await get(id), streamKey: "phk_new-key" })),
    revoke: vi.fn<StreamService["revoke"]>(async (id) => ({ ...(await get(id)), status: "revoked" })),
    disable: vi.fn<StreamService["disable"]>(async (id) => ({ ...(await get(id)), status: "disabled" })),
    enable: vi.fn<StreamService["enable"]>(get),
    remove: vi.fn<StreamService["remove"]>(async () => undefined),
    sessions: vi.fn<StreamService["sessions"]>(async (_, { limit, before = 4 }) =>
      Array.from({ length: before - 1 }, (_, i) => ({ ...SESSION, id: before - 1 - i })).slice(0, limit),
    ),
  } satisfies StreamService;
}

/** A gate that accepts every key and cuts nobody, unless a test says otherwise. */
export function fakeGate() {
  return {
    validate: vi.fn(),
    started: vi.fn(),
    report: vi.fn(),
    ended: vi.fn(),
    publish: vi.fn<PublishGate["publish"]>(async () => ({
      valid: true,
      stream: STREAM,
      sessionId: "session-1",
      lifetimeMs: 0,
    })),
    update: vi.fn<PublishGate["update"]>(async () => null),
    unpublish: vi.fn<PublishGate["unpublish"]>(async () => undefined),
  } satisfies PublishGate;
}
