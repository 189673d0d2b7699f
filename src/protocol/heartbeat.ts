import { z } from "zod";
import { doc } from "./doc.ts";
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
  .refine(([from, to]) => from <= to, { error: "expected [from, to] with from <= to" })
  .meta(doc("A part of the media, `[from, to]` in seconds, with `from` at most `to`.", [0, 8]));

export const PlayerState = z.enum(["playing", "seeking", "paused", "ended"]);
export type PlayerState = Wire.PlayerState;

/** The message of a player every few seconds: its position, and the ranges that played since the message before. */
export const Heartbeat = z
  .object({
    fileId: Id.meta(doc("The file that plays. Never the course: the catalogue knows it.", "demo-intro")),
    position: Seconds.meta(doc("Where the player is now, in seconds from the start of the media.", 8)),
    played: z
      .array(PlayedRange)
      .max(MAX_PLAYED_RANGES)
      .optional()
      .meta(doc("The parts that really played since the last beat. Dragging the playhead plays nothing.", [[0, 8]])),
    state: PlayerState.optional().meta(doc("What the player does, `playing` if absent; for presence only.", "playing")),
    rate: z
      .number()
      .min(0)
      .max(16)
      .optional()
      .meta(doc("The playback rate, 1 if absent; 0 means that playback stalls. For presence only.", 1)),
    ageMs: z
      .number()
      .min(0)
      .max(MAX_AGE_MS)
      .optional()
      .meta(doc("How many milliseconds ago the player was at the position. Compute it anew at every send.", 0)),
    sessionId: Id.optional().meta(
      doc("A random id of one run of one player; if absent, the connection is the session.", "tab-1"),
    ),
    seq: z
      .int()
      .min(0)
      .optional()
      .meta(doc("Grows with every new beat of the session. A repeated beat keeps its number and its content.", 1)),
    epoch: z
      .int()
      .min(0)
      .max(2_147_483_647)
      .optional()
      .meta(doc("The epoch of the progress that the player builds on. Beats of a lower epoch are dropped.", 0)),
  })
  .meta({ id: "Heartbeat", ...doc("A beat: where a player is, and what it played since its last beat.") });
export type Heartbeat = Wire.Heartbeat;

/** A beat for examples. */
export const EXAMPLE_BEAT = {
  fileId: "demo-intro",
  position: 8,
  played: [[0, 8] as [number, number]],
  state: "playing" as const,
  ageMs: 0,
  sessionId: "tab-1",
  seq: 1,
  epoch: 0,
};

/**
 * What an ack says was cut from a heartbeat, and why: `budget`, more was claimed than the user's allowance holds;
 * `fragments`, the row gave up its shortest range; `duration`, it lies past the duration that the catalogue knows.
 */
export const Cut = z
  .enum(["budget", "fragments", "duration"])
  .meta(
    doc(
      "Why a part of the beat does not count: more was claimed than time has passed (`budget`), the row gave up its shortest range (`fragments`), or it lies past the duration of the file (`duration`).",
      "budget",
    ),
  );
export type Cut = Wire.Cut;

/** Each beat is validated by itself, so that one bad beat of an offline player does not hold back the others. */
export const Heartbeats = z.object({ beats: z.array(z.unknown()).min(1).max(MAX_BEATS) });
/** The same as its readers are told. */
export const DescribedHeartbeats = z.object({
  beats: z
    .array(Heartbeat)
    .min(1)
    .max(MAX_BEATS)
    .meta(doc("The beats, the oldest first. Each is judged by itself: a bad one does not hold back the others.")),
});
export type Heartbeats = z.infer<typeof Heartbeats>;

/** How many beats a client sent in one call; it may have sent anything. */
export function countBeats(given: unknown): number {
  const beats = (given as { beats?: unknown } | null | undefined)?.beats;
  return Array.isArray(beats) ? Math.max(1, Math.min(beats.length, MAX_BEATS)) : 1;
}

/** How a player wants its heartbeats to be acked, said at the handshake; whole where it says nothing. */
export const Acks = z
  .enum(["whole", "brief"], { error: 'acks: expected "whole" or "brief"' })
  .optional()
  .meta(doc("How heartbeats are acked: `whole` if absent, or `brief`, without what the player can derive.", "whole"));
