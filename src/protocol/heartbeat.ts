import { z } from "zod";
import { Id } from "./ids.ts";

/** Positions are stored as 32-bit milliseconds: 596 hours. */
export const MAX_POSITION_SECONDS = 2_147_483;
/** How long ago a position may have been seen: 30 days. */
export const MAX_AGE_MS = 30 * 24 * 3600 * 1000;
/** Ranges in one heartbeat. */
export const MAX_PLAYED_RANGES = 32;
/** Heartbeats in one `heartbeats` call. */
export const MAX_BEATS = 100;

const Seconds = z.number().min(0).max(MAX_POSITION_SECONDS);

/** A range of the media that was really played, in seconds, `[from, to]` with `from <= to`. */
export const PlayedRange = z
  .tuple([Seconds, Seconds])
  .refine(([from, to]) => from <= to, { error: "expected [from, to] with from <= to" });

export const PlayerState = z.enum(["playing", "seeking", "paused", "ended"]);
export type PlayerState = z.infer<typeof PlayerState>;

/** What a player says every few seconds: where it is, and what was played since it last said so. */
export const Heartbeat = z.object({
  fileId: Id,
  /** Seconds from the start of the media. */
  position: Seconds,
  /** What was played since the last heartbeat; dragging the playhead plays nothing. */
  played: z.array(PlayedRange).max(MAX_PLAYED_RANGES).optional(),
  state: PlayerState.optional(),
  rate: z.number().min(0).max(16).optional(),
  /** How long ago, in milliseconds, the position was seen; computed anew at every send. */
  ageMs: z.number().min(0).max(MAX_AGE_MS).optional(),
  /** The player's session; without it the connection is the session. */
  sessionId: Id.optional(),
  /** Grows by one with every heartbeat of a session; a repeat keeps its number. */
  seq: z.int().min(0).optional(),
  /** The epoch of the progress the player builds on; a reset raises it, and older beats are dropped. */
  epoch: z.int().min(0).max(2_147_483_647).optional(),
});
export type Heartbeat = z.infer<typeof Heartbeat>;

/** Each beat is validated by itself, so that one bad beat does not hold back the others of an offline player. */
export const Heartbeats = z.object({ beats: z.array(z.unknown()).min(1).max(MAX_BEATS) });
export type Heartbeats = z.infer<typeof Heartbeats>;

/** How a player wants its heartbeats to be acked, said at the handshake; whole where it says nothing. */
export const Acks = z.enum(["whole", "brief"], { error: 'acks: expected "whole" or "brief"' }).optional();
