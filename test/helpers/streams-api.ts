import type { CreateStream, OwnStream } from "../../src/protocol/stream.ts";

/*
 * Streams over HTTP, as their owner manages them.
 */

export interface StreamsApi {
  create(settings?: Partial<CreateStream>): Promise<{ stream: OwnStream; streamKey: string }>;
  /** Makes a new key, without grace for the old one. */
  rotate(streamId: string): Promise<{ stream: OwnStream; streamKey: string }>;
  revoke(streamId: string): Promise<OwnStream>;
  disable(streamId: string): Promise<OwnStream>;
  enable(streamId: string): Promise<OwnStream>;
}

export function createStreamsApi({ url, token }: { url: string; token: string }): StreamsApi {
  async function post<Answer>(path: string, body: object = {}): Promise<Answer> {
    const response = await fetch(`${url}${path}`, {
      method: "POST",
      signal: AbortSignal.timeout(30_000),
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
    if (!response.ok) throw new Error(`POST ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Answer;
  }
  const change = (what: string) => async (streamId: string) =>
    (await post<{ stream: OwnStream }>(`/v1/streams/${streamId}/${what}`)).stream;
  return {
    create: (settings) => post("/v1/streams", { title: "A talk", ...settings }),
    rotate: (streamId) => post(`/v1/streams/${streamId}/rotate`),
    revoke: change("revoke"),
    disable: change("disable"),
    enable: change("enable"),
  };
}
