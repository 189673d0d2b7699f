import type { Bus, BusListener } from "./bus.ts";

/** The bus of a process that runs alone. */
export function createMemoryBus(): Bus {
  const listeners = new Set<BusListener>();
  const tell: BusListener = (message, channel) => {
    for (const listener of listeners) listener(message, channel);
  };
  return {
    publish: (channel, message) => tell(message, channel),
    publishChanges: (keys) => tell({ type: "changed", keys }, null),
    publishPresence: () => undefined,
    listen(listener) {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    subscribe: () => Promise.resolve(),
    unsubscribe: () => undefined,
    wantPresence: () => undefined,
    releasePresence: () => undefined,
  };
}
