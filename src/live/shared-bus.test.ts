import { EventEmitter } from "node:events";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type BusMessage, channels, type PresenceReport } from "./bus.ts";
import { type Carrier, SharedBus } from "./shared-bus.ts";

const COURSE = channels.course("c1");

/** Carries between nodes of this test, as long as it is not cut. */
class FakeNetwork {
  readonly nodes: FakeCarrier[] = [];
  isCut = false;
  sent: { channel: string; text: string }[] = [];
}

class FakeCarrier extends EventEmitter<{ message: [string, string]; near: [] }> implements Carrier {
  readonly subscribed = new Set<string>();
  readonly #network: FakeNetwork;

  constructor(network: FakeNetwork) {
    super();
    this.#network = network;
    network.nodes.push(this);
  }

  publish(messages: readonly (readonly [string, string])[]): boolean {
    if (this.#network.isCut) return false;
    for (const [channel, text] of messages) {
      this.#network.sent.push({ channel, text });
      for (const node of this.#network.nodes) if (node.subscribed.has(channel)) node.emit("message", channel, text);
    }
    return true;
  }

  async subscribe(channel: string): Promise<void> {
    this.subscribed.add(channel);
  }

  unsubscribe(channel: string): void {
    this.subscribed.delete(channel);
  }
}

function createNode(network: FakeNetwork, node: string) {
  const carrier = new FakeCarrier(network);
  const present = new Map<string, PresenceReport[]>();
  const gaps = vi.fn();
  const bus = new SharedBus({
    carrier,
    node,
    presentIn: (channel) => present.get(channel) ?? [],
    onGap: gaps,
    logger: pino({ level: "silent" }),
  });
  const heard: BusMessage[] = [];
  return { bus, carrier, present, gaps, heard, hear: (message: BusMessage) => void heard.push(message) };
}

function toReport(userId: string, position = 0): PresenceReport {
  return {
    courseId: "c1",
    lessonId: "l1",
    fileId: "f1",
    userId,
    position,
    state: "playing",
    rate: 1,
    ageMs: 0,
    leaseMs: 30_000,
  };
}

const present = (userId: string, position = 0): BusMessage => ({ type: "present", report: toReport(userId, position) });
const changed: BusMessage = {
  type: "changed",
  keys: [{ courseId: "c1", lessonId: "l1", fileId: "f1", userId: "alice", version: 1 }],
};

let network: FakeNetwork;
let a: ReturnType<typeof createNode>;
let b: ReturnType<typeof createNode>;
beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout", "setInterval", "clearInterval", "performance"] });
  network = new FakeNetwork();
  a = createNode(network, "a");
  b = createNode(network, "b");
});
afterEach(() => {
  a.bus.stop();
  b.bus.stop();
  vi.useRealTimers();
});

describe("a message", () => {
  it("is heard at once where it was said, and once by every other node that wants the channel", async () => {
    a.bus.subscribe(COURSE, a.hear);
    b.bus.subscribe(COURSE, b.hear);
    a.bus.publish(COURSE, changed);
    expect(a.heard).toEqual([changed]);
    await vi.advanceTimersByTimeAsync(20);
    expect(b.heard).toEqual([changed]);
    expect(a.heard).toHaveLength(1);
  });

  it("goes out with what else is said meanwhile, in order, in one text a channel", async () => {
    b.bus.subscribe(COURSE, b.hear);
    for (let version = 1; version <= 100; version++) {
      a.bus.publish(COURSE, { type: "changed", keys: [{ ...toReport("alice"), version }] });
    }
    await vi.advanceTimersByTimeAsync(20);
    expect(network.sent.filter(({ channel }) => channel === COURSE)).toHaveLength(1);
    expect(b.heard.map((message) => message.type === "changed" && message.keys[0]?.version)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
  });

  it("that cannot be read harms nobody", () => {
    b.bus.subscribe(COURSE, b.hear);
    for (const text of ["", "{", "null", "[]", '{"node":"a"}']) b.carrier.emit("message", COURSE, text);
    expect(b.heard).toEqual([]);
  });
});

describe("a channel", () => {
  it("is subscribed to with its first handler, and left with its last", () => {
    const [first, second] = [b.bus.subscribe(COURSE, b.hear), b.bus.subscribe(COURSE, b.hear)];
    expect(b.carrier.subscribed).toContain(COURSE);
    first.leave();
    first.leave();
    second.leave();
    expect(b.carrier.subscribed).not.toContain(COURSE);
  });

  it("that one handler left twice is still heard by the other", async () => {
    const first = b.bus.subscribe(COURSE, () => undefined);
    b.bus.subscribe(COURSE, b.hear);
    first.leave();
    first.leave();
    a.bus.publish(COURSE, changed);
    await vi.advanceTimersByTimeAsync(20);
    expect(b.heard).toEqual([changed]);
  });
});

describe("viewers", () => {
  async function watchAtB(): Promise<() => void> {
    b.bus.subscribe(COURSE, b.hear);
    const stop = b.bus.wantPresence(COURSE);
    await vi.advanceTimersByTimeAsync(20);
    return stop;
  }

  it("are told to nobody who does not want them", async () => {
    b.bus.subscribe(COURSE, b.hear);
    a.bus.publish(COURSE, present("alice"));
    await vi.advanceTimersByTimeAsync(20);
    expect(b.heard).toEqual([]);
  });

  it("are told, each by its newest report", async () => {
    await watchAtB();
    for (let position = 1; position <= 5; position++) a.bus.publish(COURSE, present("alice", position));
    a.bus.publish(COURSE, present("bob", 1));
    await vi.advanceTimersByTimeAsync(20);
    expect(b.heard).toEqual([present("alice", 5), present("bob", 1)]);
  });

  it("who are there already are told to a node that begins to watch", async () => {
    a.present.set(COURSE, [toReport("alice", 7)]);
    await watchAtB();
    expect(b.heard).toEqual([present("alice", 7)]);
  });

  it("are told for as long as somebody watches, and some time longer", async () => {
    const stop = await watchAtB();
    await vi.advanceTimersByTimeAsync(120_000);
    a.bus.publish(COURSE, present("alice"));
    await vi.advanceTimersByTimeAsync(20);
    expect(b.heard).toHaveLength(1);
    stop();
    await vi.advanceTimersByTimeAsync(60_000);
    a.bus.publish(COURSE, present("alice"));
    await vi.advanceTimersByTimeAsync(20);
    expect(b.heard).toHaveLength(1);
  });
});

describe("after a gap", () => {
  it("what was said meanwhile is lost, the node is told, and hears who is there", async () => {
    b.bus.subscribe(COURSE, b.hear);
    b.bus.wantPresence(COURSE);
    await vi.advanceTimersByTimeAsync(20);
    network.isCut = true;
    a.bus.publish(COURSE, changed);
    a.present.set(COURSE, [toReport("alice", 3)]);
    await vi.advanceTimersByTimeAsync(20);
    expect(b.heard).toEqual([]);
    network.isCut = false;
    b.carrier.emit("near");
    await vi.advanceTimersByTimeAsync(20);
    expect(b.gaps).toHaveBeenCalledTimes(1);
    expect(b.heard).toEqual([present("alice", 3)]);
  });

  it("a node that could not hear who asked tells it by itself", async () => {
    b.bus.subscribe(COURSE, b.hear);
    b.bus.wantPresence(COURSE);
    await vi.advanceTimersByTimeAsync(20);
    a.present.set(COURSE, [toReport("alice", 3)]);
    a.carrier.emit("near");
    await vi.advanceTimersByTimeAsync(20);
    expect(b.heard).toEqual([present("alice", 3)]);
  });
});
