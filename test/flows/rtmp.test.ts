import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { StreamDrop } from "../../src/protocol/stream.ts";
import { RTMP_ENVIRONMENT, type RtmpServer, useRtmpServer } from "../helpers/rtmp-server.ts";
import { readMetric } from "../helpers/server-calls.ts";
import { serverEnv } from "../helpers/server-env.ts";
import { type ServerProcess, startServerProcess } from "../helpers/server-process.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * What media servers are told of their live sessions, by one process or two.
 */

let server: RtmpServer;
useRtmpServer((started) => {
  server = started;
});

describe("a live session", () => {
  it.each([
    ["revoked", (id: string) => server.streams.revoke(id)],
    ["disabled", (id: string) => server.streams.disable(id)],
    [
      "expired",
      (id: string) => server.database.query("UPDATE streams SET expires_at = clock_timestamp() WHERE id = $1", [id]),
    ],
    ["ended", (id: string) => server.database.query("UPDATE streams SET status = 'ended' WHERE id = $1", [id])],
  ])("is dropped by its media server, and by no other, when its stream is %s", async (reason, change) => {
    const { id, key } = await server.newStream();
    const [owner, other] = [await server.media(), await server.media()];
    const sessionId = await owner.publish(key);
    await change(id);
    expect(await owner.dropOf(sessionId)).toBe(reason);
    const answer = await owner.call("stream:stats", { sessionId });
    expect(answer).toMatchObject({ ok: false, error: { code: "conflict" } });
    expect(owner.heard<StreamDrop>("stream:drop")).toEqual([{ sessionId, reason }]);
    expect(other.heard("stream:drop")).toEqual([]);
    const verdict = await other.validate(key);
    expect(verdict).toMatchObject(reason === "ended" ? { valid: true } : { valid: false, reason });
  });

  it("is dropped when its stream is deleted", async () => {
    const { id, key } = await server.newStream();
    const client = await server.media();
    const sessionId = await client.publish(key);
    await server.database.query("DELETE FROM streams WHERE id = $1", [id]);
    expect(await client.dropOf(sessionId)).toBe("revoked");
    expect(await client.call("stream:stats", { sessionId })).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(await client.validate(key)).toMatchObject({ valid: false, reason: "unknown" });
  });

  it("is dropped when its media server, which was away meanwhile, comes back with the same boot", async () => {
    const { id, key } = await server.newStream();
    const name = { server: "away", boot: "b1" };
    const before = await server.media(name);
    const sessionId = await before.publish(key);
    before.close();
    await waitFor(async () => (await readMetric(server.url, "playhead_sockets", "/rtmp")) === 0, {
      what: "it to be gone",
    });
    await server.streams.revoke(id);
    const rebooted = await server.media({ server: "away", boot: "b2" });
    const after = await server.media(name);
    expect(await after.dropOf(sessionId)).toBe("revoked");
    expect(rebooted.heard("stream:drop")).toEqual([]);
  });

  it("is dropped when its key expires, although nobody asks", async () => {
    const expiresAt = new Date(Date.now() + 1500).toISOString();
    const { id, key } = await server.newStream({ expiresAt });
    const watching = await server.dashboard(`stream:${id}`);
    const client = await server.media();
    const verdict = await client.validate(key, "c1");
    expect(verdict).toMatchObject({ valid: true });
    if (!verdict.ok || !verdict.valid) return;
    expect(verdict.lifetimeMs).toBeGreaterThan(0);
    expect(verdict.lifetimeMs).toBeLessThanOrEqual(1500);
    await client.call("stream:started", { sessionId: verdict.sessionId });
    expect(await client.dropOf(verdict.sessionId)).toBe("expired");
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(expiresAt));
    await waitFor(() => watching.statuses().at(-1) === "expired", { what: "the dashboard to see it" });
  });

  it("goes on when its key is rotated", async () => {
    const { id, key } = await server.newStream();
    const client = await server.media();
    const sessionId = await client.publish(key, "c1");
    const rotated = await server.streams.rotate(id);
    expect(await client.call("stream:stats", { sessionId, viewers: 3 })).toMatchObject({ ok: true });
    expect(await client.validate(key, "c2")).toMatchObject({ valid: false, reason: "unknown" });
    expect(await client.validate(rotated.streamKey, "c2")).toMatchObject({ valid: false, reason: "already_live" });
    expect(client.heard("stream:drop")).toEqual([]);
  });

  it("is dropped when a second encoder comes and the policy is takeover", async () => {
    const { id, key } = await server.newStream({ policy: "takeover" });
    const [first, second] = [await server.media(), await server.media()];
    const sessionId = await first.publish(key);
    const next = await second.publish(key);
    expect(await first.dropOf(sessionId)).toBe("taken_over");
    expect(await server.rows(id)).toHaveLength(2);
    expect(await second.call("stream:stats", { sessionId: next })).toMatchObject({ ok: true });
    expect(second.heard("stream:drop")).toEqual([]);
    // Told once, although PostgreSQL notifies the drop as well.
    expect(first.heard("stream:drop")).toHaveLength(1);
  });
});

describe("two processes on one database", () => {
  let other: ServerProcess;
  beforeAll(async () => {
    other = await startServerProcess({ env: serverEnv(server.database, { LOG_LEVEL: "error", ...RTMP_ENVIRONMENT }) });
  });
  afterAll(async () => {
    expect(await other.stop()).toBe(0);
    expect(other.process.stderr()).toBe("");
  });

  it("refuse a key that was revoked through the other process, and drop its session", async () => {
    const { id, key } = await server.newStream();
    const there = await server.media({}, other.url);
    const sessionId = await there.publish(key, "c1");
    await server.streams.revoke(id);
    expect(await there.validate(key, "c2")).toMatchObject({ valid: false, reason: "revoked" });
    expect(await there.dropOf(sessionId)).toBe("revoked");
  });

  it("give a stream to one encoder, whichever processes the encoders come by", async () => {
    const { key } = await server.newStream();
    const [here, there] = [await server.media(), await server.media({}, other.url)];
    const verdicts = await Promise.all([here, there].flatMap((one) => [one.validate(key), one.validate(key)]));
    expect(verdicts.filter((verdict) => verdict.ok && verdict.valid)).toHaveLength(1);
  });

  it("drop a session of one process when an encoder takes the stream over through the other", async () => {
    const { key } = await server.newStream({ policy: "takeover" });
    const [here, there] = [await server.media(), await server.media({}, other.url)];
    const sessionId = await there.publish(key);
    await here.publish(key);
    expect(await there.dropOf(sessionId)).toBe("taken_over");
  });

  it("let a media server go on with its session through the other process", async () => {
    const { key } = await server.newStream();
    const name = { server: "wanderer", boot: "b1" };
    const here = await server.media(name);
    const sessionId = await here.publish(key);
    here.close();
    const there = await server.media(name, other.url);
    expect(await there.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
    expect(await there.call("stream:ended", { sessionId })).toMatchObject({ ok: true });
  });
});
