import type { Stream } from "../client/index.ts";
import { toAgo, toAhead, toBitrate, toCount, toTime } from "./format.ts";
import { isOnAir } from "./stream-badge.tsx";

/** Bitrate, viewers and start of a stream, a few words each. */
export function toFigures(stream: Stream, nowMs: number): string[] {
  const { bitrateKbps, viewers } = stream;
  return [
    ...(bitrateKbps === null ? [] : [toBitrate(bitrateKbps)]),
    ...(viewers === null ? [] : [toCount(viewers, "viewer")]),
    toSince(stream, nowMs),
  ];
}

export function toSince(stream: Stream, nowMs: number): string {
  if (isOnAir(stream) && stream.startedAt !== null) return `since ${toTime(stream.startedAt, nowMs)}`;
  if (stream.endedAt !== null) return `last live ${toAgo(stream.endedAt, nowMs)}`;
  return "never live yet";
}

export function toExpiry({ expiresAt }: Stream, nowMs: number): string {
  if (expiresAt === null) return "never expires";
  return Date.parse(expiresAt) <= nowMs ? `expired ${toAgo(expiresAt, nowMs)}` : `expires ${toAhead(expiresAt, nowMs)}`;
}
