/** Messages that go out together. */
export type Outgoing = readonly (readonly [channel: string, text: string])[];

/** Carries text between processes: Redis, or the supervisor of several workers. It says when it could not. */
export interface Carrier {
  /** Whether other processes can be reached now. */
  readonly isNear: boolean;
  /** @returns whether the messages are on their way */
  publish(messages: Outgoing): boolean;
  /** Resolves when messages of this channel arrive; at once while the other processes cannot be reached. */
  subscribe(channel: string): Promise<void>;
  unsubscribe(channel: string): void;
  on(event: "message", listener: (channel: string, text: string) => void): unknown;
  /** The other processes can be reached no more, until `near`. */
  on(event: "away", listener: () => void): unknown;
  /** The other processes can be reached again. What they published meanwhile is lost. */
  on(event: "near", listener: () => void): unknown;
}
