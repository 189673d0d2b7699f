import type { OwnStream, StreamSession } from "../protocol/stream.ts";
import { call, loadOwn } from "./api.ts";
import type { Session } from "./session.ts";

/** A stream with its new key. The server sends a key only once. */
export interface NewKey {
  stream: OwnStream;
  streamKey: string;
}

/** The fields of a stream that its owner enters. `expiresAt` is ISO 8601; null if the key never expires. */
export interface StreamInput {
  title: string;
  expiresAt: string | null;
}

function toPath(streamId: string): string {
  return `/v1/streams/${encodeURIComponent(streamId)}`;
}

/** The streams that this user may manage. */
export function loadStreams(session: Session): Promise<OwnStream[]> {
  return loadOwn("streams", session);
}

export async function loadStream(token: string, streamId: string): Promise<OwnStream> {
  return (await call<{ stream: OwnStream }>(toPath(streamId), { token })).stream;
}

export function createStream(token: string, { title, expiresAt }: StreamInput): Promise<NewKey> {
  return call("/v1/streams", { token, body: { title, ...(expiresAt === null ? {} : { expiresAt }) } });
}

/** Sends only the changed fields: the server would refuse an expiry in the past, even an unchanged one. */
export async function changeStream(
  token: string,
  before: StreamInput & { id: string },
  input: StreamInput,
): Promise<void> {
  const body = {
    ...(input.title === before.title ? {} : { title: input.title }),
    ...(input.expiresAt === before.expiresAt ? {} : { expiresAt: input.expiresAt }),
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
  /** The `before` of the next page; absent on the last page. */
  next?: number;
}

/** One page of a stream's sessions, the newest first. */
export function loadSessions(token: string, streamId: string, before?: number): Promise<SessionsPage> {
  const query = before === undefined ? "" : `&before=${before}`;
  return call(`${toPath(streamId)}/sessions?limit=20${query}`, { token });
}
