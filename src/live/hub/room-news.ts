import type { Bus, BusMessage, ChangedKey, ChangedStream } from "../bus/bus.ts";
import { channels } from "../bus/channels.ts";
import type { Viewer } from "../presence/course-viewers.ts";
import { type Presence, toPresent } from "../presence/presence.ts";
import { toEntry } from "./frame.ts";
import type { FrameClock } from "./frame-clock.ts";
import type { Room } from "./room.ts";
import type { RoomIndex } from "./room-index.ts";

/*
 * Hears the bus. A message marks the rooms that it concerns: they have rows to read, or viewers to show.
 */

/** Presence is known before the progress of the same heartbeat is durable. It waits for it, to share a frame. */
const PRESENCE_GATHER_MS = 120;

export interface RoomNewsParts {
  bus: Bus;
  rooms: RoomIndex;
  presence: Presence;
  clock: FrameClock;
  /** Notifications may have been lost, of any row. */
  resync: () => void;
}

export class RoomNews {
  readonly #parts: RoomNewsParts;
  #leaveBus: () => void = () => undefined;

  constructor(parts: RoomNewsParts) {
    this.#parts = parts;
  }

  start(): void {
    const { bus } = this.#parts;
    this.#leaveBus = bus.listen((message, channel) => this.#hear(message, channel));
    void bus.subscribe(channels.all); // never rejects
  }

  stop(): void {
    this.#leaveBus();
  }

  /** A viewer is there, or has moved. `channel`: in which this was told; null where its player is connected here. */
  showViewer(viewer: Viewer, channel: string | null): void {
    const { rooms, clock } = this.#parts;
    const concerned = rooms.concernedBy(viewer, channel);
    if (concerned.length === 0) return;
    const entry = toEntry(toPresent(viewer, performance.now()));
    for (const room of concerned) {
      room.backlog.put(entry);
      room.viewersChanged = true;
      clock.schedule(room, PRESENCE_GATHER_MS);
    }
  }

  /** A viewer's lease has ended. */
  showGone(viewer: Viewer): void {
    const { userId, fileId } = viewer;
    for (const room of this.#parts.rooms.concernedBy(viewer, null)) {
      room.backlog.put({ field: "removed", value: { kind: "present", userId, fileId, version: 0 } });
      room.viewersChanged = true;
      this.#parts.clock.schedule(room);
    }
  }

  /** The room reads again everything that it shows. */
  markStale(room: Room): void {
    room.isStale = true;
    this.#parts.clock.schedule(room);
  }

  #hear(message: BusMessage, channel: string | null): void {
    switch (message.type) {
      case "changed":
        this.#markChanged(message.keys, channel);
        break;
      case "streams":
        this.#markStreams(message.keys);
        break;
      case "again":
        this.#readAgain(channel);
        break;
      case "present": {
        const viewer = this.#parts.presence.renew(message.report, false);
        if (viewer !== null) this.showViewer(viewer, channel);
        break;
      }
      case "pulse":
      case "sum?":
      case "sum":
        break;
    }
  }

  #markChanged(keys: readonly ChangedKey[], channel: string | null): void {
    const { rooms, clock } = this.#parts;
    const touched = new Set<Room>();
    for (const key of keys) {
      for (const room of rooms.concernedBy(key, channel)) {
        room.changes.add(key);
        room.totalsChanged = true;
        touched.add(room);
      }
    }
    for (const room of touched) clock.schedule(room);
  }

  #markStreams(keys: readonly ChangedStream[]): void {
    for (const key of keys) {
      for (const room of this.#parts.rooms.concernedByStream(key)) {
        room.changes.addStream(key);
        this.#parts.clock.schedule(room);
      }
    }
  }

  #readAgain(channel: string | null): void {
    if (channel === channels.all) this.#parts.resync();
    else if (channel !== null) for (const room of this.#parts.rooms.inChannel(channel)) this.markStale(room);
  }
}
