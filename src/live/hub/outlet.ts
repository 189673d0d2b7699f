/*
 * How frames leave the process: the gateway's part. An update is JSON already, made once for everybody who gets it.
 */

export interface Outlet {
  /** Sends an update to every subscriber that has joined the topic. */
  broadcast(topic: string, update: string): void;
}

/** A connection that watches topics. */
export interface Subscriber {
  readonly id: string;
  /** From now on the connection gets the topic's broadcasts. */
  join(topic: string): void;
  leave(topic: string): void;
  /** Sends an update to this connection alone. */
  send(update: string): void;
  /** Bytes that still wait to go out to this connection. */
  bufferedBytes(): number;
  /** Ends the connection, and tells the client why. */
  disconnect(reason: string): void;
}
