import { Listeners } from "../listeners.ts";
import type { Bus, BusListener } from "./bus.ts";

/** The bus of a process that runs alone. */
export function createMemoryBus(): Bus {
  const listeners = new Listeners<Parameters<BusListener>>();
  return {
    publish: (channel, message) => listeners.tell(message, channel),
    publishChanges: (keys) => listeners.tell({ type: "changed", keys }, null),
    publishPresence: () => undefined,
    listen: (listener) => listeners.add(listener),
    subscribe: () => Promise.resolve(),
    unsubscribe: () => undefined,
    wantPresence: () => undefined,
    releasePresence: () => undefined,
  };
}
