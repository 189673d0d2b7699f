import type { BeatQueue } from "./beat-queue.ts";
import type { Clock } from "./clock.ts";
import type { Connection } from "./connection.ts";
import type { HeldProgress } from "./held-progress.ts";
import type { Listeners } from "./listeners.ts";
import type { PlayerEvents } from "./player-api.ts";

/** What the parts of a player share. */
export interface PlayerParts {
  /** The server, as `toServerUrl` gives it. */
  url: string;
  fileId: string;
  sessionId: string;
  /** Its timers end with `signal`. */
  clock: Clock;
  /** The end of the player. */
  signal: AbortSignal;
  connection: Connection;
  queue: BeatQueue;
  held: HeldProgress;
  emit: Listeners<PlayerEvents>["emit"];
}
