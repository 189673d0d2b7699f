import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import type { StreamSession, Verdict } from "../../src/protocol/stream.ts";
import { type Encoder, startEncoder } from "../helpers/encoder.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { type Nginx, startNginx } from "../helpers/nginx.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { type Client, connect } from "../helpers/socket-client.ts";
import { type StreamCommands, useStreamCommands } from "../helpers/stream-commands.ts";
import { mintToken } from "../helpers/tokens.ts";
import { type WatchedStream, watchStream } from "../helpers/watched-stream.ts";

/*
 * `playhead streams …` beside a server, whose live encoders it cuts.
 */

const SECRET = "only-these-flows-know-it";

let at: StreamCommands;
useStreamCommands((commands) => {
  at = commands;
});

function connectMediaServer(url: string): Promise<Client> {
  return connect(url, "/rtmp", "", { auth: { secret: SECRET, server: "ingest-1", boot: "1" } });
}

async function validate(media: Client, connectionId: string, streamKey: string): Promise<Verdict> {
  return (await media.call("stream:validate", { streamKey, connectionId })) as never;
}

describe("playhead streams beside a server", () => {
  let server: ServerProcess;
  let nginx: Nginx;
  const encoders: Encoder[] = [];
  const watched: WatchedStream[] = [];

  beforeAll(async () => {
    const port = await findFreePort();
    nginx = await startNginx({
      playhead: `127.0.0.1:${port}`,
      secret: SECRET,
      server: "edge-1",
      // Only Playhead can cut a publisher before the test is over.
      changes: { "notify_update_timeout 10s": "notify_update_timeout 10m" },
    });
    server = await startFlowServer({
      PORT: port,
      DATABASE_URL: at.database.url,
      HOOK_SECRETS: `nginx-rtmp:${SECRET}`,
      RTMP_SECRETS: SECRET,
      NGINX_CONTROL_URLS: `edge-1=${nginx.controlUrl}`,
    });
  });
  afterEach(async () => {
    await Promise.all(encoders.splice(0).map((encoder) => encoder.kill()));
    for (const dashboard of watched.splice(0)) dashboard.close();
  });
  afterAll(async () => {
    await server?.stop();
    await nginx?.stop();
  });

  async function watch(streamId: string): Promise<WatchedStream> {
    const dashboard = await watchStream({ url: server.url, token: await mintToken("bob"), streamId });
    watched.push(dashboard);
    return dashboard;
  }

  async function publish(key: string, dashboard: WatchedStream): Promise<Encoder> {
    const encoder = startEncoder(`${nginx.rtmpUrl}/${key}`);
    encoders.push(encoder);
    await dashboard.until("live");
    await encoder.sendsOn(300);
    return encoder;
  }

  it("cuts a live encoder by revoke and by disable, and lists both sessions", async () => {
    const { stream, streamKey } = await at.create();
    const dashboard = await watch(stream.id);

    const first = await publish(streamKey, dashboard);
    expect(await at.succeed("list", "--user", "alice")).toMatch(new RegExp(`^${stream.id} +alice +A talk +live `, "m"));
    at.isAlone = true;
    expect(await at.succeed("revoke", stream.id)).toBe(`stream ${stream.id} is revoked\n`);
    at.isAlone = false;
    expect((await first.exited).code).toBe(1);
    await dashboard.until("revoked");
    const refused = await startEncoder(`${nginx.rtmpUrl}/${streamKey}`).exited;
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining("Input/output error") });

    const rotated = await at.printKey("rotate", stream.id);
    await dashboard.until("ready");
    const second = await publish(rotated.streamKey, dashboard);
    await at.succeed("disable", stream.id);
    expect((await second.exited).code).toBe(1);
    await dashboard.until("disabled");

    const [headings, ...lines] = (await at.succeed("sessions", stream.id)).trimEnd().split("\n");
    expect(headings).toMatch(/^STARTED +ENDED +SECONDS +STATE +REASON +SERVER +FROM +CONNECTED +PEAK +KBIT\/S$/);
    const time = String.raw`\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}Z`;
    const toLine = (reason: string) =>
      expect.stringMatching(new RegExp(`^${time} +${time} +\\d+ +ended +${reason} +edge-1 +127\\.0\\.0\\.1 +1 +- +-$`));
    expect(lines).toEqual([toLine("disabled"), toLine("revoked")]);
    const { sessions } = JSON.parse(await at.succeed("sessions", stream.id, "--json")) as { sessions: StreamSession[] };
    expect(sessions).toEqual([
      expect.objectContaining({ server: "edge-1", endReason: "disabled", state: "ended" }),
      expect.objectContaining({ server: "edge-1", endReason: "revoked", state: "ended" }),
    ]);
  });

  it("makes the server tell a media server on the socket which session to drop", async () => {
    const media = await connectMediaServer(server.url);
    const { stream, streamKey } = await at.create("--expires", "1h");
    const verdict = await validate(media, stream.id, streamKey);
    if (!verdict.valid) throw new Error(`the key was refused as ${verdict.reason}`);
    const { sessionId } = verdict;
    expect(verdict.lifetimeMs).toBeGreaterThan(0);
    await media.call("stream:started", { sessionId });
    await at.succeed("revoke", stream.id);
    expect(await media.hear("stream:drop")).toEqual({ sessionId, reason: "revoked" });
    expect(await validate(media, stream.id, streamKey)).toMatchObject({ valid: false, reason: "revoked" });
    media.close();
  });

  it("makes the server accept the old key beside the new one only during the grace period", async () => {
    const media = await connectMediaServer(server.url);
    const { stream, streamKey } = await at.create();
    expect(await validate(media, stream.id, streamKey)).toMatchObject({ valid: true });
    const graceful = await at.printKey("rotate", stream.id, "--grace", "600");
    expect(graceful.stream.previousKeyUntil).not.toBeNull();
    for (const key of [streamKey, graceful.streamKey]) {
      expect(await validate(media, stream.id, key)).toMatchObject({ valid: true });
    }
    const sudden = await at.printKey("rotate", stream.id);
    expect(sudden.stream.previousKeyUntil).toBeNull();
    for (const key of [streamKey, graceful.streamKey]) {
      expect(await validate(media, stream.id, key)).toMatchObject({ valid: false, reason: "unknown" });
    }
    expect(await validate(media, stream.id, sudden.streamKey)).toMatchObject({ valid: true });
    media.close();
  });
});

describe("playhead streams with the embedded PostgreSQL", () => {
  let server: ServerProcess | undefined;

  afterEach(async () => {
    await server?.kill();
  });

  it("works while a server runs that PostgreSQL, and without a server", async () => {
    at.isAlone = true;
    at.env = { PLAYHEAD_DATA_DIR: join(at.folder, "data") };
    server = await startFlowServer({ ...at.env, RTMP_SECRETS: SECRET });
    const { stream, streamKey } = await at.create();
    const media = await connectMediaServer(server.url);
    expect(await validate(media, "1", streamKey)).toMatchObject({ valid: true, stream: { id: stream.id } });
    media.close();
    expect(await server.stop()).toBe(0);

    expect(await at.succeed("list")).toContain(stream.id);
    expect(await at.succeed("revoke", stream.id)).toBe(`stream ${stream.id} is revoked\n`);

    server = await startFlowServer(at.env);
    expect(await at.succeed("list")).toMatch(new RegExp(`^${stream.id} .* revoked `, "m"));
    expect(await server.stop()).toBe(0);
  });
});
