import { z } from "zod";
import { Id } from "./ids.ts";
import { MAX_POSITION_SECONDS } from "./numbers.ts";
import type * as Wire from "./wire.ts";

/** The largest age of a position: 30 days. */
export const MAX_AGE_MS = 30 * 24 * 3600 * 1000;
/** The most ranges in one heartbeat. */
export const MAX_PLAYED_RANGES = 32;
/** The most heartbeats in one `heartbeats` call. */
export const MAX_BEATS = 100;

const Seconds = z.number().min(0).max(MAX_POSITION_SECONDS);

/** A range of the media that really played, in seconds, `[from, to]` with `from <= to`. */
export const PlayedRange = z
  .tuple([Seconds, Seconds])
  .refine(([from, to]) => from <= to, { error: "expected [from, to] with from <= to" });

export const PlayerState = z.enum(["playing", "seeking", "paused", "ended"]);
export type PlayerState = Wire.PlayerState;

/** The message of a player every few seconds: its position, and the ranges that played since the message before. */
export const Heartbeat = z.object({
  fileId: Id,
  /** Seconds from the start of the media. */
  position: Seconds,
  /** The ranges that played since the last heartbeat. To drag the playhead plays nothing. */
  played: z.array(PlayedRange).max(MAX_PLAYED_RANGES).optional(),
  state: PlayerState.optional(),
  rate: z.number().min(0).max(16).optional(),
  /** How many milliseconds ago the player was at the position; computed anew at every send. */
  ageMs: z.number().min(0).max(MAX_AGE_MS).optional(),
  /** The player's session; if absent, the connection is the session. */
  sessionId: Id.optional(),
  /** Grows with every heartbeat of a session. A repeated heartbeat keeps its number. */
  seq: z.int().min(0).optional(),
  /** The epoch of the progress that the player builds on. A reset raises it, and beats of a lower epoch are dropped. */
  epoch: z.int().min(0).max(2_147_483_647).optional(),
});
export type Heartbeat = Wire.Heartbeat;

/**
 * What an ack says was cut from a heartbeat, and why: `budget`, more was claimed than the user's allowance holds;
 * `fragments`, the row gave up its shortest range; `duration`, it lies past the duration that the catalogue knows.
 */
export const Cut = z.enum(["budget", "fragments", "duration"]);
export type Cut = Wire.Cut;

/** Each beat is validated by itself, so that one bad beat of an offline player does not hold back the others. */
export const Heartbeats = z.object({ beats: z.array(z.unknown()).min(1).max(MAX_BEATS) });
export type Heartbeats = z.infer<typeof Heartbeats>;

/** How many beats a client sent in one call; it may have sent anything. */
export function countBeats(given: unknown): number {
  const beats = (given as { beats?: unknown } | null | undefined)?.beats;
  return Array.isArray(beats) ? Math.max(1, Math.min(beats.length, MAX_BEATS)) : 1;
}

/** How a player wants its heartbeats to be acked, said at the handshake; whole where it says nothing. */
export const Acks = z.enum(["whole", "brief"], { error: 'acks: expected "whole" or "brief"' }).optional();
