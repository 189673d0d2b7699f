import { EventEmitter } from "node:events";
import { beforeEach, describe, expect, it, vi } from "vitest";
import { createFakeClock, type FakeClock } from "../../test/helpers/fake-clock.ts";
import { FAKE_STREAM } from "../../test/helpers/fake-publish-server.ts";
import type { DropReason, StreamFigures } from "../protocol/stream.ts";
import { type Guard, type GuardOptions, guardNodeMediaServer, type NodeMediaSession } from "./node-media-server.ts";
import type { PublishSession } from "./publish-session.ts";
import type { RtmpClient, ValidateRequest, Validation } from "./rtmp-client.ts";

/* Against a fake node-media-server, for events that a real one seldom sends. */
describe("the guard", () => {
  class FakeSocket extends EventEmitter {
    destroyed = false;
    writableEnded = false;
    paused = false;
    pause(): void {
      this.paused = true;
    }
    resume(): void {
      this.paused = false;
    }
    end(): void {
      this.writableEnded = true;
    }
    destroySoon(): void {
      this.end();
      this.destroyed = true;
      this.emit("close");
    }
  }

  interface FakeSession extends NodeMediaSession {
    inBytes: number;
    streamName: string;
    socket: FakeSocket;
    rtmp: { onPacketCallback: (packet: { data: Uint8Array }) => void };
  }

  class FakeAdmitted implements PublishSession {
    readonly sessionId = "session-1";
    dropped: DropReason | null = null;
    told: string[] = [];
    figures: StreamFigures[] = [];
    dropListeners: ((reason: DropReason) => void)[] = [];
    started(): void {
      this.told.push("started");
    }
    ended(reason?: string): void {
      this.told.push(`ended: ${reason}`);
    }
    report(figures: StreamFigures): void {
      this.figures.push(figures);
    }
    onDrop(listener: (reason: DropReason) => void): () => void {
      this.dropListeners.push(listener);
      return () => undefined;
    }
  }

  let clock: FakeClock;
  let prePublish: (session: NodeMediaSession) => void;
  let asked: ValidateRequest[];
  let answer: (validation: Validation) => void;
  let guard: Guard;
  let refusals: string[];
  const client: RtmpClient = {
    connected: true,
    reportIntervalMs: 1000,
    validate: (request) => {
      asked.push(request);
      return new Promise((resolve) => {
        answer = resolve;
      });
    },
    close: vi.fn(),
  };

  beforeEach(() => {
    clock = createFakeClock();
    asked = [];
    refusals = [];
    guardWith({});
  });

  function guardWith(options: GuardOptions): void {
    const nms = {
      on(_event: "prePublish", listener: typeof prePublish) {
        prePublish = listener;
      },
    };
    const onRefused = ({ reason }: { reason: string }) => void refusals.push(reason);
    guard = guardNodeMediaServer(nms, { client, clock, onRefused, ...options });
  }

  function newSession(change: Partial<FakeSession> = {}): FakeSession {
    const socket = new FakeSocket();
    return {
      id: "connection-1",
      ip: "::ffff:192.0.2.1:50000",
      protocol: "rtmp",
      streamApp: "live",
      streamName: "key",
      streamPath: "/live/key",
      streamQuery: {},
      inBytes: 0,
      close: () => socket.end(),
      socket,
      rtmp: { onPacketCallback: () => undefined },
      ...change,
    };
  }

  /** Answers the question, and waits until the guard has acted on the answer. */
  const settle = async (validation: Validation) => {
    answer(validation);
    await new Promise((resolve) => setImmediate(resolve));
  };

  const admit = async (session: FakeSession) => {
    const admitted = new FakeAdmitted();
    prePublish(session);
    await settle({ valid: true, session: admitted, stream: FAKE_STREAM, lifetimeMs: 0 });
    return admitted;
  };

  it.each([
    ["192.0.2.1:50000", "192.0.2.1"],
    ["::ffff:192.0.2.1:50000", "192.0.2.1"],
    ["2001:db8::1:50000", "2001:db8::1"],
    ["undefined:undefined", undefined],
  ])("sends the address %s as %s", (ip, clientIp) => {
    prePublish(newSession({ ip }));
    expect(asked[0]?.clientIp).toBe(clientIp);
  });

  it("holds back media that came with the request, and passes it on when the encoder is admitted", async () => {
    const passed: string[] = [];
    const session = newSession({ rtmp: { onPacketCallback: ({ data }) => void passed.push(String(data)) } });
    const data = Buffer.from("media");
    prePublish(session);
    expect(session.socket.paused).toBe(true);
    session.rtmp.onPacketCallback({ data });
    data.fill("x");
    expect(passed).toEqual([]);
    await settle({ valid: true, session: new FakeAdmitted(), stream: FAKE_STREAM, lifetimeMs: 0 });
    session.rtmp.onPacketCallback({ data: Buffer.from("more") });
    expect(passed).toEqual(["media", "more"]);
    expect(session.socket.paused).toBe(false);
  });

  it("passes on no media of a refused encoder", async () => {
    const passed: unknown[] = [];
    const session = newSession({ rtmp: { onPacketCallback: (packet) => void passed.push(packet) } });
    prePublish(session);
    session.rtmp.onPacketCallback({ data: Buffer.from("media") });
    await settle({ valid: false, reason: "unknown" });
    session.rtmp.onPacketCallback({ data: Buffer.from("media") });
    expect(passed).toEqual([]);
    expect(session.socket.destroyed).toBe(true);
  });

  it("cuts a connection that publishes a second time", async () => {
    const passed: unknown[] = [];
    const session = newSession({ rtmp: { onPacketCallback: (packet) => void passed.push(packet) } });
    const admitted = await admit(session);
    session.streamName = "another";
    prePublish(session);
    expect(session.socket.destroyed).toBe(true);
    // node-media-server still parses the media that came with the second request.
    session.rtmp.onPacketCallback({ data: Buffer.from("media") });
    expect(passed).toEqual([]);
    expect(asked).toHaveLength(1);
    expect(refusals).toEqual(["second_publish"]);
    expect(admitted.told).toEqual(["started", "ended: connection closed"]);
  });

  it("ends the session of an encoder that disconnected before the answer", async () => {
    const session = newSession();
    prePublish(session);
    session.socket.destroySoon();
    const admitted = new FakeAdmitted();
    await settle({ valid: true, session: admitted, stream: FAKE_STREAM, lifetimeMs: 0 });
    expect(admitted.told).toEqual(["ended: closed by the media server"]);
  });

  it("counts players, but not the recordings and relays of the media server", async () => {
    const subscribers = new Map(["192.0.2.5:1", "192.0.2.5:2", ""].map((ip, i) => [String(i), { ip }]));
    const admitted = await admit(newSession({ broadcast: { subscribers } } as never));
    clock.advance(1000);
    expect(admitted.figures).toEqual([{ bitrateKbps: 0, viewers: 2 }]);
  });

  it("measures the bitrate of each interval, and counts no byte twice", async () => {
    const session = newSession({ inBytes: 1_000_000 });
    const admitted = await admit(session);
    session.inBytes += 125_000;
    clock.advance(1000);
    session.inBytes += 250_000;
    clock.advance(1000);
    session.inBytes = 0;
    clock.advance(1000);
    expect(admitted.figures).toEqual([{ bitrateKbps: 1000 }, { bitrateKbps: 2000 }, { bitrateKbps: 0 }]);
  });

  it.each([
    ["30 s by default", undefined, 30_000],
    ["the silence timeout", 5000, 5000],
  ])("cuts a silent encoder after %s", async (_, silenceTimeoutMs, afterMs) => {
    guardWith(silenceTimeoutMs === undefined ? {} : { silenceTimeoutMs });
    const session = newSession();
    const admitted = await admit(session);
    clock.advance(afterMs - 1);
    expect(session.socket.destroyed).toBe(false);
    clock.advance(1);
    expect(session.socket.destroyed).toBe(true);
    expect(admitted.told.slice(0, 2)).toEqual(["started", "ended: silent"]);
    expect(refusals).toEqual(["silent"]);
  });

  it("cuts no silent encoder if the silence timeout is 0", async () => {
    guardWith({ silenceTimeoutMs: 0 });
    const session = newSession();
    await admit(session);
    clock.advance(3_600_000);
    expect(session.socket.destroyed).toBe(false);
  });

  it("does not ask about a stream that the media server pulls itself", () => {
    const { socket: _, ...pull } = { ...newSession(), rtmpClient: {}, mode: "pull" };
    prePublish(pull as never);
    expect([asked, refusals]).toEqual([[], []]);
  });

  it("refuses a connection of a kind that it cannot hold", () => {
    const close = vi.fn();
    const { socket: _, ...unknown } = { ...newSession(), close };
    prePublish(unknown);
    expect(close).toHaveBeenCalledOnce();
    expect([asked, refusals]).toEqual([[], ["unsupported"]]);
  });

  it("refuses a name that node-media-server does not accept, whatever its key", () => {
    guardWith({ streamKey: ({ streamQuery }) => streamQuery.key });
    const session = newSession({ streamPath: "", streamQuery: { key: "key" } });
    prePublish(session);
    expect(session.socket.destroyed).toBe(true);
    expect([asked, refusals]).toEqual([[], ["no_key"]]);
  });

  it.each([
    ["is no text", () => ["a", "b"]],
    ["is empty", () => ""],
    [
      "cannot be read because `streamKey` throws",
      () => {
        throw new TypeError("there is no key");
      },
    ],
  ])("refuses an encoder whose key %s, and throws nothing", (_, streamKey) => {
    const warned = vi.spyOn(process, "emitWarning").mockReturnValue();
    guardWith({ streamKey });
    const session = newSession();
    prePublish(session);
    expect(session.socket.destroyed).toBe(true);
    expect(refusals).toEqual(["no_key"]);
    warned.mockRestore();
  });

  it("turns an error of a listener into a warning", async () => {
    const warned = vi.spyOn(process, "emitWarning").mockReturnValue();
    guardWith({
      onRefused: () => {
        throw new TypeError("not here");
      },
    });
    const session = newSession();
    prePublish(session);
    await settle({ valid: false, reason: "unknown" });
    expect(session.socket.destroyed).toBe(true);
    expect(warned).toHaveBeenCalledOnce();
    warned.mockRestore();
  });

  it("cuts all encoders and refuses new ones when it is closed, but does not close a client that it did not make", async () => {
    const [live, waiting, later] = [newSession(), newSession(), newSession()];
    const admitted = await admit(live);
    prePublish(waiting);
    await guard.close();
    prePublish(later);
    const late = new FakeAdmitted();
    await settle({ valid: true, session: late, stream: FAKE_STREAM, lifetimeMs: 0 });
    for (const { socket } of [live, waiting, later]) expect(socket.destroyed).toBe(true);
    expect(admitted.told).toEqual(["started", "ended: connection closed"]);
    expect(late.told).toEqual(["ended: closed by the media server"]);
    expect(refusals).toEqual(["closed", "closed", "closed"]);
    expect(client.close).not.toHaveBeenCalled();
  });
});
