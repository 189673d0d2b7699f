import type { Update } from "../protocol/dashboard.ts";

/** How frames leave the process; the gateway's part. */
export interface Outlet {
  /** To every member that has joined the topic, serialised once. */
  broadcast(topic: string, update: Update): void;
  send(subscriberId: string, update: Update): void;
  join(subscriberId: string, topic: string): void;
  leave(subscriberId: string, topic: string): void;
  /** Bytes that still wait to go out to this subscriber. */
  bufferedBytes(subscriberId: string): number;
  /** Ends a connection that takes nothing any more. */
  disconnect(subscriberId: string, reason: string): void;
}
