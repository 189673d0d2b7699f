import { EventEmitter } from "node:events";
import { pino } from "pino";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { BusMessage, ChangedKey, PresenceReport } from "./bus.ts";
import type { Carrier, Outgoing } from "./carrier.ts";
import { channels } from "./channels.ts";
import { SharedBus } from "./shared-bus.ts";

const COURSE = channels.course("c1");
/** The bus gathers messages for this long. */
const GATHER_MS = 20;

/** Carries between the processes of a test while it is not cut. */
class FakeNetwork {
  readonly nodes: FakeCarrier[] = [];
  isCut = false;
  sent: { channel: string; text: string }[] = [];
}

class FakeCarrier extends EventEmitter<{ message: [string, string]; near: []; away: [] }> implements Carrier {
  readonly subscribed = new Set<string>();
  readonly #network: FakeNetwork;

  constructor(network: FakeNetwork) {
    super();
    this.#network = network;
    network.nodes.push(this);
  }

  get isNear(): boolean {
    return !this.#network.isCut;
  }

  publish(messages: Outgoing): boolean {
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
  /** Viewers whose players are connected to this process, by channel. */
  const viewers = new Map<string, PresenceReport[]>();
  const bus = new SharedBus({
    carrier,
    node,
    presentHere: (channel) => viewers.get(channel) ?? [],
    logger: pino({ level: "silent" }),
  });
  const heard: [channel: string | null, message: BusMessage][] = [];
  bus.listen((message, channel) => heard.push([channel, message]));
  return { bus, carrier, viewers, heard };
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

const toKey = (version: number, userId = "alice"): ChangedKey => ({
  courseId: "c1",
  lessonId: "l1",
  fileId: "f1",
  userId,
  version,
});
const present = (userId: string, position = 0): [string, BusMessage] => [
  COURSE,
  { type: "present", report: toReport(userId, position) },
];
const again: BusMessage = { type: "again" };

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
  it("is heard at once by its own process, and once by every process that subscribed to its channel", async () => {
    void a.bus.subscribe(COURSE);
    void b.bus.subscribe(COURSE);
    a.bus.publish(COURSE, again);
    expect(a.heard).toEqual([[COURSE, again]]);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toEqual([[COURSE, again]]);
    expect(a.heard).toHaveLength(1);
  });

  it("goes out together with all that come within a moment, in order, in one text a channel", async () => {
    void b.bus.subscribe(COURSE);
    for (let version = 1; version <= 100; version++) a.bus.publishChanges([toKey(version)]);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(network.sent.filter(({ channel }) => channel === COURSE)).toHaveLength(1);
    expect(b.heard.map(([, message]) => message.type === "changed" && message.keys[0]?.version)).toEqual(
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
  });

  it("that cannot be read is heard by nobody, and harms nobody", () => {
    void b.bus.subscribe(COURSE);
    for (const text of ["", "{", "null", "[]", '{"node":"a"}']) b.carrier.emit("message", COURSE, text);
    expect(b.heard).toEqual([]);
  });
});

describe("changed rows", () => {
  it("are heard once by the process that relays them, and by others in the channels of their courses and users", async () => {
    for (const channel of [COURSE, channels.course("c2"), channels.user("bob")]) void b.bus.subscribe(channel);
    const keys = [toKey(1), { ...toKey(2), courseId: "c2" }, toKey(3, "bob")] as const;
    a.bus.publishChanges(keys);
    expect(a.heard).toEqual([[null, { type: "changed", keys }]]);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toHaveLength(3);
    for (const expected of [
      [COURSE, { type: "changed", keys: [keys[0], keys[2]] }],
      [channels.course("c2"), { type: "changed", keys: [keys[1]] }],
      [channels.user("bob"), { type: "changed", keys: [keys[2]] }],
    ])
      expect(b.heard).toContainEqual(expected);
  });
});

describe("a channel", () => {
  it("is subscribed to at the carrier from its first subscription until its last is ended", async () => {
    void b.bus.subscribe(COURSE);
    void b.bus.subscribe(COURSE);
    expect(b.carrier.subscribed).toContain(COURSE);
    b.bus.unsubscribe(COURSE);
    a.bus.publish(COURSE, again);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toEqual([[COURSE, again]]);
    b.bus.unsubscribe(COURSE);
    expect(b.carrier.subscribed).not.toContain(COURSE);
  });
});

describe("viewers", () => {
  async function watchAtB(): Promise<void> {
    void b.bus.subscribe(COURSE);
    b.bus.wantPresence(COURSE);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
  }

  it("are not told to a process that does not want them", async () => {
    void b.bus.subscribe(COURSE);
    a.bus.publishPresence(toReport("alice"));
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toEqual([]);
  });

  it("are told to a process that wants them, each by its newest report", async () => {
    await watchAtB();
    for (let position = 1; position <= 5; position++) a.bus.publishPresence(toReport("alice", position));
    a.bus.publishPresence(toReport("bob", 1));
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toEqual([present("alice", 5), present("bob", 1)]);
    expect(a.heard).toEqual([]);
  });

  it("are told in the channel of their user as well, where a process wants that", async () => {
    const channel = channels.user("alice");
    void b.bus.subscribe(channel);
    b.bus.wantPresence(channel);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    a.bus.publishPresence(toReport("alice", 5));
    a.bus.publishPresence(toReport("bob", 5));
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toEqual([[channel, { type: "present", report: toReport("alice", 5) }]]);
  });

  it("who are there already are told to a process that begins to watch", async () => {
    a.viewers.set(COURSE, [toReport("alice", 7)]);
    await watchAtB();
    expect(b.heard).toEqual([present("alice", 7)]);
  });

  it("are told for as long as a process watches, and for some time longer", async () => {
    await watchAtB();
    await vi.advanceTimersByTimeAsync(120_000);
    a.bus.publishPresence(toReport("alice"));
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toHaveLength(1);
    b.bus.releasePresence(COURSE);
    await vi.advanceTimersByTimeAsync(60_000);
    a.bus.publishPresence(toReport("alice"));
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toHaveLength(1);
  });
});

describe("after a gap", () => {
  it("messages of the gap are lost, and the process hears that anything may have changed, and who is there", async () => {
    void b.bus.subscribe(COURSE);
    b.bus.wantPresence(COURSE);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    network.isCut = true;
    a.bus.publish(COURSE, again);
    a.viewers.set(COURSE, [toReport("alice", 3)]);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toEqual([]);
    network.isCut = false;
    b.carrier.emit("near");
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toEqual([[channels.all, again], present("alice", 3)]);
  });

  it("a process tells its viewers without being asked: it may have missed the question", async () => {
    void b.bus.subscribe(COURSE);
    b.bus.wantPresence(COURSE);
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    a.viewers.set(COURSE, [toReport("alice", 3)]);
    a.carrier.emit("near");
    await vi.advanceTimersByTimeAsync(GATHER_MS);
    expect(b.heard).toEqual([present("alice", 3)]);
  });
});
