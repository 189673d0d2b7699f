import type { OwnStream, StreamSession } from "../protocol/stream.ts";
import { call } from "./api.ts";
import type { Session } from "./session.ts";

/** A stream with its new key; no other answer has the key. */
export interface NewKey {
  stream: OwnStream;
  streamKey: string;
}

/** What a person says of a stream. `expiresAt` is ISO 8601; null where the key never expires. */
export interface StreamForm {
  title: string;
  expiresAt: string | null;
}

/** More than a person looks through. */
const MAX_STREAMS = 1000;

function toPath(streamId: string): string {
  return `/v1/streams/${encodeURIComponent(streamId)}`;
}

/** The streams that this person may manage: its own, all of them for an admin. */
export async function loadStreams({ token, user }: Session): Promise<OwnStream[]> {
  const streams: OwnStream[] = [];
  const whose = user.role === "admin" ? "" : "&mine=true";
  let after = "";
  for (;;) {
    const page = await call<{ streams: OwnStream[]; next?: string }>(`/v1/streams?limit=200${whose}${after}`, {
      token,
    });
    streams.push(...page.streams);
    if (page.next === undefined || streams.length >= MAX_STREAMS) return streams;
    after = `&after=${encodeURIComponent(page.next)}`;
  }
}

export async function loadStream(token: string, streamId: string): Promise<OwnStream> {
  return (await call<{ stream: OwnStream }>(toPath(streamId), { token })).stream;
}

export function createStream(token: string, { title, expiresAt }: StreamForm): Promise<NewKey> {
  return call("/v1/streams", { token, body: { title, ...(expiresAt === null ? {} : { expiresAt }) } });
}

/** Sends what differs: an expiry that is past may stay, but cannot be set. */
export async function changeStream(
  token: string,
  before: StreamForm & { id: string },
  form: StreamForm,
): Promise<void> {
  const body = {
    ...(form.title === before.title ? {} : { title: form.title }),
    ...(form.expiresAt === before.expiresAt ? {} : { expiresAt: form.expiresAt }),
  };
  await call(toPath(before.id), { token, method: "PATCH", body });
}

export function rotateKey(token: string, streamId: string, graceSeconds: number): Promise<NewKey> {
  return call(`${toPath(streamId)}/rotate`, { token, body: { graceSeconds } });
}

export async function setStream(token: string, streamId: string, to: "revoke" | "disable" | "enable"): Promise<void> {
  await call(`${toPath(streamId)}/${to}`, { token, method: "POST" });
}

export async function deleteStream(token: string, streamId: string): Promise<void> {
  await call(toPath(streamId), { token, method: "DELETE" });
}

export interface SessionsPage {
  sessions: StreamSession[];
  /** The `before` of the next page; absent on the last. */
  next?: number;
}

/** The newest first. */
export function loadSessions(token: string, streamId: string, before?: number): Promise<SessionsPage> {
  const query = before === undefined ? "" : `&before=${before}`;
  return call(`${toPath(streamId)}/sessions?limit=20${query}`, { token });
}
