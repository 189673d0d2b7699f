/** How frames leave the process; the gateway's part. An update is JSON already: it is made once for all who get it. */
export interface Outlet {
  /** To every member that has joined the topic. */
  broadcast(topic: string, update: string): void;
  send(subscriberId: string, update: string): void;
  join(subscriberId: string, topic: string): void;
  leave(subscriberId: string, topic: string): void;
  /** Bytes that still wait to go out to this subscriber. */
  bufferedBytes(subscriberId: string): number;
  /** Ends a connection that takes nothing any more. */
  disconnect(subscriberId: string, reason: string): void;
}
