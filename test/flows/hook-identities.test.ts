import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamSession } from "../../src/protocol/stream.ts";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { connectMediaServer } from "../helpers/media-server.ts";
import { createStreamsApi, type StreamsApi } from "../helpers/streams-api.ts";
import { startTestServer, type TestServer } from "../helpers/test-server.ts";
import { mintToken } from "../helpers/tokens.ts";

/*
 * A media server's sessions belong to its kind and its name. Who has the secret of another kind cannot touch them, whatever
 * name it gives itself.
 */

const SECRETS = { nginx: "for-nginx", srs: "for-srs", mediamtx: "for-mediamtx", rtmp: "for-sockets" };

let database: TestDatabase;
let server: TestServer;
let api: StreamsApi;
let token: string;

beforeAll(async () => {
  database = await createTestDatabase();
  server = await startTestServer(database, {
    HOOK_SECRETS: `nginx-rtmp:${SECRETS.nginx},srs:${SECRETS.srs},mediamtx:${SECRETS.mediamtx}`,
    RTMP_SECRETS: SECRETS.rtmp,
  });
  token = await mintToken("ines", "instructor");
  api = createStreamsApi({ url: server.url, token });
});
afterAll(async () => {
  await server.stop();
  await database.drop();
});

async function post(path: string, body: object, type: "json" | "form" = "json"): Promise<number> {
  const response = await fetch(`${server.url}/v1/hooks/${path}`, {
    method: "POST",
    ...(type === "form"
      ? { body: new URLSearchParams(body as Record<string, string>) }
      : { body: JSON.stringify(body), headers: { "content-type": "application/json" } }),
  });
  return response.status;
}

const nginx = (event: string, name: string) =>
  post(`nginx-rtmp/${event}?secret=${SECRETS.nginx}&server=edge`, { app: "live", clientid: "1", name }, "form");
const srs = (action: string, stream: string, server: string, param?: string) =>
  post(`srs?secret=${SECRETS.srs}&server=${server}&boot=1`, { action, client_id: "1", app: "live", stream, param });
const mediamtx = (server: string) =>
  post(`mediamtx?secret=${SECRETS.mediamtx}&server=${server}&boot=1`, { action: "unpublish", id: "1" });

async function sessionsOf(streamId: string): Promise<StreamSession[]> {
  const response = await fetch(`${server.url}/v1/streams/${streamId}/sessions`, {
    headers: { authorization: `Bearer ${token}` },
  });
  return ((await response.json()) as { sessions: StreamSession[] }).sessions;
}

describe("a session that an nginx reported", () => {
  it("is not ended by other kinds of media servers, and ends when the nginx says so", async () => {
    const { stream, streamKey } = await api.create();
    expect(await nginx("on_publish", streamKey)).toBe(200);
    for (const name of ["edge", "nginx-rtmp:edge"]) {
      expect(await srs("on_unpublish", "any", name)).toBe(200);
      expect(await srs("on_unpublish", streamKey, name, "")).toBe(200);
      expect(await mediamtx(name)).toBe(204);
    }
    expect(await sessionsOf(stream.id)).toMatchObject([{ state: "live", server: "edge" }]);
    expect(await nginx("on_publish_done", streamKey)).toBe(200);
    expect(await sessionsOf(stream.id)).toMatchObject([{ state: "reconnecting", server: "edge" }]);
  });

  it("is not taken for the connection of a media server on a socket that has the same name", async () => {
    const { stream, streamKey } = await api.create();
    expect(await nginx("on_publish", streamKey)).toBe(200);
    for (const name of ["edge", "nginx-rtmp:edge"]) {
      const other = await connectMediaServer(server.url, { secret: SECRETS.rtmp, server: name, boot: "1" });
      expect(await other.validate(streamKey, "1")).toMatchObject({ valid: false, reason: "already_live" });
      other.close();
    }
    expect(await sessionsOf(stream.id)).toMatchObject([{ state: "live", connections: 1 }]);
  });

  it("still belongs to the nginx where an older version wrote it, under the name alone", async () => {
    const { stream, streamKey } = await api.create();
    expect(await nginx("on_publish", streamKey)).toBe(200);
    await database.query("UPDATE stream_sessions SET server = 'edge' WHERE stream_id = $1", [stream.id]);
    expect(await nginx("on_publish_done", streamKey)).toBe(200);
    expect(await sessionsOf(stream.id)).toMatchObject([{ state: "reconnecting" }]);
  });
});
