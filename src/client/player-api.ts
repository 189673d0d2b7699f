import type { WireError } from "../errors.ts";
import type { FileProgress, Heartbeat, PlayerState } from "../protocol/wire.ts";
import type { BeatStorage } from "./beat-storage.ts";
import type { Clock } from "./clock.ts";
import type { ConnectionState } from "./connection.ts";
import type { ProgressSource } from "./held-progress.ts";
import type { PlayedTracker } from "./played-tracker.ts";
import type { TokenSource } from "./token-source.ts";

/* What an application sees of a player. */

export interface PlayerOptions {
  /** The server, with the path in front of it if it has one; by default, in a browser, where the page came from. */
  url?: string;
  /** A token, or a function that gets one: the SDK calls it before every connect and before a token ends. */
  token: TokenSource;
  fileId: string;
  /** Where unacked beats outlive a reload: by default localStorage in browsers, nowhere in Node. `null` switches it off. */
  storage?: BeatStorage | null;
  /** The user whose beats are kept. Needed only where the token is no JWT with a `sub`. */
  userId?: string;
  /** For tests. */
  clock?: Clock;
}

/** What the server may cut off a beat that it takes: see docs/protocol.md. */
export type CutReason = "budget" | "fragments" | "duration";

/** Where the media is now. */
export interface Report {
  /** Seconds. */
  position: number;
  state?: PlayerState;
  rate?: number;
}

/**
 * An error of the server, or one that the player found itself:
 * - `source_changed`: the media element holds other media than the file's. Nothing counts until the file's is back.
 * - `user_changed`: the token belongs to another user than before. The player has stopped.
 */
export type PlayerError = Omit<WireError, "code"> & { code: WireError["code"] | "source_changed" | "user_changed" };

export type PlayerEvents = {
  state: [ConnectionState];
  /** The newest progress of the player's file, always whole, and how the player learned of it. */
  progress: [FileProgress, ProgressSource];
  /**
   * The server refused a beat for good, or could not be asked for the progress, or the player found something wrong.
   * A refused beat is dropped.
   */
  error: [PlayerError, Heartbeat | null];
  /** The server took a beat, but cut something off what it claimed to be played. */
  cut: [CutReason[], Heartbeat];
};

export interface Player {
  readonly fileId: string;
  readonly sessionId: string;
  readonly state: ConnectionState;
  /** The newest known progress; null until the first one came. */
  readonly progress: FileProgress | null;
  /** How many beats the server has not yet made durable. */
  readonly pending: number;
  /** The watched ranges in seconds: those that the server holds, and those that were played here and are on their way. */
  readonly watched: [from: number, to: number][];
  /** Resolves with the stored progress, or with null where none came within five seconds: then play on without it. */
  readonly ready: Promise<FileProgress | null>;
  /** Says where the media is. Call it as often as you like: a change of state is sent at once, the rest at the server's pace. */
  report(report: Report): void;
  /** Adds a range, in seconds, that really played. */
  played(from: number, to: number): void;
  /** Sends a beat now. */
  beat(): void;
  /** Resets the file's progress, on the server and here. */
  reset(): Promise<{ ok: true } | { ok: false; error: WireError }>;
  /** @returns removes the listener */
  on<Name extends keyof PlayerEvents>(name: Name, listener: (...args: PlayerEvents[Name]) => void): () => void;
  /** Sends what is left, waits two seconds at most for the acks, and ends. Unacked beats stay in storage. */
  close(): Promise<void>;
}

/** The parts of a player that follow a media element. */
export interface PlayerHooks {
  tracker: PlayedTracker;
  /** Called before every beat, so that the hook can report the latest position. */
  onBeforeBeat?: () => void;
  /** Called with the place to resume at, in seconds: the one kept on this device, and later the one that the server stores. */
  onPlace: (resumeAt: number) => void;
}
