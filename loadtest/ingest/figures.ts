import type { Cost } from "../load/cost-window.ts";
import type { Standing } from "./contender.ts";
import type { After } from "./database.ts";
import type { Ladder } from "./offered.ts";
import type { IngestOptions } from "./options.ts";
import type { SocketWork } from "./socket-work.ts";
import type { Watched } from "./watched.ts";

/** All that a run measured; null, or empty, where it was told to leave it out. */
export interface Figures {
  options: IngestOptions;
  /** All contenders by closed loop, Playhead first. */
  standings: Standing[];
  /** Of Playhead among them. */
  cost: Cost | null;
  ladders: Ladder[];
  /** At half the top rate, and with short frames at the rate that Supabase publishes. */
  watched: { half: Watched | null; fast: Watched | null };
  sockets: SocketWork | null;
  /** Of every server that was loaded. */
  after: (After & { server: string })[];
}

/** A contender's standing; undefined where contenders were not measured. */
export function standingOf({ standings }: Pick<Figures, "standings">, name: string): Standing | undefined {
  return standings.find((standing) => standing.name === name);
}
