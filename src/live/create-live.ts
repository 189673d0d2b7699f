import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { FileProgress } from "../protocol/progress.ts";
import { createMemoryBus } from "./bus.ts";
import { DeviceFollowers } from "./device-follower.ts";
import { LiveHub } from "./live-hub.ts";
import type { Outlet } from "./outlet.ts";
import { Pulse } from "./pulse.ts";
import { RelayDuty, type RelayDutyParts } from "./relay-duty.ts";
import { type Carrier, SharedBus } from "./shared-bus.ts";
import type { TopicSource } from "./topic-source.ts";

export interface LiveParts {
  /** This process, by a name that no other has. */
  node: string;
  /** What reaches the other processes; null where there are none. */
  carrier: (Carrier & { readonly isNear: boolean }) | null;
  /** Past any pooler. */
  connectionString: string;
  source: TopicSource;
  outlet: Outlet;
  tellDevice: (socketId: string, progress: FileProgress) => void;
  cache: RelayDutyParts["cache"];
  metrics: Metrics;
  logger: Logger;
}

export interface Live {
  hub: LiveHub;
  devices: DeviceFollowers;
  /** Whether changes may be missed now. */
  readonly isBehind: boolean;
  start(): void;
  /** Shows nothing more, and gives the relay to the next. */
  stop(): Promise<void>;
}

/** Builds the way out: the bus, what it feeds, and this process's part in relaying. */
export function createLive(parts: LiveParts, options: { frameIntervalMs: number }): Live {
  const { node, carrier, connectionString, source, cache, metrics, logger } = parts;
  const shared =
    carrier === null
      ? null
      : new SharedBus({
          carrier,
          node,
          presentIn: (channel) => hub.presentIn(channel),
          onGap: () => hub.resync(),
          logger,
        });
  const bus = shared ?? createMemoryBus();
  const hub: LiveHub = new LiveHub({ bus, source, outlet: parts.outlet, metrics, logger }, options);
  const devices = new DeviceFollowers({ bus, source, logger, tell: parts.tellDevice }, options);
  const pulse = new Pulse({ bus, onBehind: () => hub.setBehind(true), onLevel: () => hub.setBehind(false) });
  const relay = new RelayDuty({
    connectionString,
    bus,
    cache,
    shared: carrier === null ? null : { canRelay: () => carrier.isNear },
    metrics,
    logger,
  });
  return {
    hub,
    devices,
    get isBehind() {
      return pulse.isBehind;
    },
    start() {
      hub.start();
      relay.start();
    },
    async stop() {
      pulse.stop();
      hub.stop();
      devices.stop();
      shared?.stop();
      await relay.stop();
    },
  };
}
