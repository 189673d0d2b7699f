import { createGuard } from "../guard.ts";
import type { Logger } from "../logger.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { FileProgress } from "../protocol/progress.ts";
import type { Carrier } from "./bus/carrier.ts";
import { splitPresenceChannel } from "./bus/channels.ts";
import { createMemoryBus } from "./bus/memory-bus.ts";
import { SharedBus } from "./bus/shared-bus.ts";
import { type Figures, sumOverProcesses } from "./bus/sum-over-processes.ts";
import { DeviceFollowers } from "./devices/device-follower.ts";
import { LiveHub } from "./hub/live-hub.ts";
import type { Outlet } from "./hub/outlet.ts";
import type { TopicSource } from "./hub/topic-source.ts";
import { Presence } from "./presence/presence.ts";
import { Pulse } from "./relay/pulse.ts";
import { RelayDuty, type RelayDutyParts } from "./relay/relay-duty.ts";

export interface LiveParts {
  /** This process, by a name that no other has. */
  node: string;
  /** Reaches the other processes; null where there are none. */
  carrier: Carrier | null;
  /** Past any pooler. */
  connectionString: string;
  /** Checks the connection of an election. */
  admit: RelayDutyParts["admit"];
  source: TopicSource;
  outlet: Outlet;
  /** Sends a learner's progress to one of its sockets. */
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
  /** Adds up figures that every process counts by itself: see sum-over-processes.ts. At most one kind of figures. */
  sumOverProcesses<F extends Figures>(own: (id: string) => F): (id: string) => Promise<F & { processes: number }>;
  /** Another database answers from now on: listens there, and reads everything again. */
  reconnect(): void;
  /** Shows nothing more, and lays down the relay for another process to take up. */
  stop(): Promise<void>;
}

/** Builds the way out: the bus, the rooms and devices that it feeds, and this process's part in relaying. */
export function createLive(parts: LiveParts, options: { frameIntervalMs: number }): Live {
  const { node, carrier, connectionString, source, outlet, cache, metrics, logger } = parts;
  const presence = new Presence();
  const presentHere = (channel: string) => presence.localReports(...splitPresenceChannel(channel));
  const shared = carrier === null ? null : new SharedBus({ carrier, node, presentHere, logger });
  const bus = shared ?? createMemoryBus();
  const hub = new LiveHub({ bus, presence, source, outlet, metrics, logger }, options);
  const devices = new DeviceFollowers({ bus, source, tell: parts.tellDevice, logger }, options);
  const guard = createGuard(logger);
  const setBehind = (isBehind: boolean) => guard("telling dashboards of delays", () => hub.setBehind(isBehind));
  const pulse = new Pulse({ bus, onBehind: () => setBehind(true), onLevel: () => setBehind(false) });
  const relay = new RelayDuty({
    connectionString,
    admit: parts.admit,
    bus,
    cache,
    carrier,
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
    sumOverProcesses: (own) => sumOverProcesses(bus, own, carrier === null ? 0 : undefined),
    reconnect: () => relay.reconnect(),
    async stop() {
      pulse.stop();
      hub.stop();
      devices.stop();
      shared?.stop();
      await relay.stop();
    },
  };
}
