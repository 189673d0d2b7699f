import { EventEmitter } from "node:events";
import { pino } from "pino";
import { afterEach, expect, it } from "vitest";
import type { Carrier, Outgoing } from "./carrier.ts";
import { createMemoryBus } from "./memory-bus.ts";
import { SharedBus } from "./shared-bus.ts";
import { sumOverProcesses } from "./sum-over-processes.ts";

/** All processes of the test hear each other through it. */
const network = new EventEmitter<{ text: [channel: string, text: string] }>();
const buses: SharedBus[] = [];

afterEach(() => {
  for (const bus of buses.splice(0)) bus.stop();
  network.removeAllListeners();
});

function createProcess(node: string, counts: Record<string, { beats: number; cutMs: number }>) {
  const carrier = Object.assign(new EventEmitter<{ message: [string, string]; near: []; away: [] }>(), {
    isNear: true,
    publish: (messages: Outgoing) => messages.map((message) => network.emit("text", ...message)).length > 0,
    subscribe: () => Promise.resolve(),
    unsubscribe: () => undefined,
  });
  network.on("text", (channel, text) => carrier.emit("message", channel, text));
  const logger = pino({ level: "silent" });
  const bus = new SharedBus({ carrier: carrier as Carrier, node, presentHere: () => [], logger });
  buses.push(bus);
  return sumOverProcesses(bus, (id) => counts[id] ?? { beats: 0, cutMs: 0 }, 200);
}

it("adds up what every process has counted, whichever of them is asked", async () => {
  const processes = [
    createProcess("a", { alice: { beats: 1, cutMs: 500 } }),
    createProcess("b", { alice: { beats: 2, cutMs: 1000 }, bob: { beats: 9, cutMs: 9 } }),
    createProcess("c", {}),
  ];
  const sums = await Promise.all(processes.map((ask) => ask("alice")));
  expect(sums).toEqual(Array(3).fill({ beats: 3, cutMs: 1500, processes: 3 }));
});

it("answers at once in a process that runs alone", async () => {
  const ask = sumOverProcesses(createMemoryBus(), () => ({ beats: 4 }), 0);
  expect(await ask("alice")).toEqual({ beats: 4, processes: 1 });
});
