import type { Present } from "../../protocol/dashboard.ts";
import type { Presence } from "../presence/presence.ts";
import type { Room } from "./room.ts";
import { isOfStreams } from "./topic-view.ts";

/** The viewers that rooms show. */
export class RoomViewers {
  readonly #presence: Presence;

  constructor(presence: Presence) {
    this.#presence = presence;
  }

  of({ topic, courseId }: Room): Present[] {
    return this.#presence.viewersOf(topic, courseId);
  }

  /** Null where the topic has no viewers. */
  count({ topic, courseId }: Room): number | null {
    return isOfStreams(topic) ? null : this.#presence.count(topic, courseId);
  }
}
