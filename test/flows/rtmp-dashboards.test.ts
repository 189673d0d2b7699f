import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { Update } from "../../src/protocol/dashboard.ts";
import { type RtmpServer, useRtmpServer } from "../helpers/rtmp-server.ts";
import { connect } from "../helpers/socket-client.ts";
import { mintToken } from "../helpers/tokens.ts";
import { waitFor } from "../helpers/wait-for.ts";

/*
 * What dashboards show of streams.
 */

let server: RtmpServer;
useRtmpServer((started) => {
  server = started;
});

describe("dashboards", () => {
  it("show a stream from ready to ended, through a reconnect, with versions that only grow", async () => {
    const { id, key } = await server.newStream();
    const one = await server.dashboard(`stream:${id}`);
    const all = await server.dashboard("streams");
    const client = await server.media();
    const show = (status: string) =>
      waitFor(() => one.statuses().at(-1) === status, { what: `${status}; it was ${one.statuses()}` });
    const first = await client.publish(key, "c1");
    await show("live");
    await client.call("stream:ended", { sessionId: first });
    await show("reconnecting");
    const second = await client.publish(key, "c2");
    await show("live");
    await client.call("stream:ended", { sessionId: second });
    await show("ended");
    expect(one.statuses()).toEqual(["ready", "live", "reconnecting", "live", "reconnecting", "ended"]);
    expect(one.versions()).toEqual([...new Set(one.versions())].sort((a, b) => a - b));
    await waitFor(
      () => all.heard<Update>("update").some((u) => u.streams?.some((s) => s.id === id && s.status === "ended")),
      {
        what: "the dashboard of all streams to see it",
      },
    );
  });

  it("show a stream as reconnecting and then ended when its media server vanishes", async () => {
    const { id, key } = await server.newStream();
    const watching = await server.dashboard(`stream:${id}`);
    const client = await server.media();
    await client.publish(key);
    client.close();
    await waitFor(() => watching.statuses().at(-1) === "ended", { what: `ended; it was ${watching.statuses()}` });
    expect(watching.statuses()).toEqual(["ready", "live", "reconnecting", "ended"]);
    expect(await server.database.query("SELECT end_reason FROM stream_sessions WHERE stream_id = $1", [id])).toEqual([
      { end_reason: "lease_lost" },
    ]);
  });

  it("show changes that psql makes, and deletions", async () => {
    const { id } = await server.newStream();
    const watching = await server.dashboard(`stream:${id}`);
    for (const status of ["disabled", "ready", "revoked", "expired"]) {
      await server.database.query("UPDATE streams SET status = $2 WHERE id = $1", [id, status]);
      await waitFor(() => watching.statuses().at(-1) === status, { what: `the dashboard to see ${status}` });
    }
    const last = watching.versions().at(-1) as number;
    await server.database.query("DELETE FROM streams WHERE id = $1", [id]);
    const { removed } = await watching.hear<Update>("update", (update) => update.removed !== undefined);
    expect(removed).toEqual([{ kind: "stream", streamId: id, version: expect.any(Number) }]);
    expect(removed?.[0]?.version).toBeGreaterThan(last);
  });

  it("show figures at most every 2 s, while the history counts every report", async () => {
    const { id, key } = await server.newStream();
    const watching = await server.dashboard(`stream:${id}`);
    const client = await server.media();
    const sessionId = await client.publish(key);
    const before = watching.heard("update").length;
    const startedAt = performance.now();
    let reports = 0;
    let sum = 0;
    while (performance.now() - startedAt < 3000) {
      // Fifty a second, in bursts, as a slow network brings them.
      await Promise.all(
        Array.from({ length: 10 }, () => {
          reports += 1;
          sum += 1000 + reports;
          return client.call("stream:stats", {
            sessionId,
            bitrateKbps: 1000 + reports,
            viewers: reports === 42 ? 500 : 5,
          });
        }),
      );
      await delay(200);
    }
    await client.call("stream:ended", { sessionId });
    const tookMs = performance.now() - startedAt;
    await waitFor(() => watching.statuses().at(-1) === "reconnecting", { what: "the end" });
    const shown = watching
      .heard<Update>("update")
      .flatMap(({ streams = [] }) => streams)
      .filter(({ bitrateKbps }) => bitrateKbps !== null);
    // One at once, one every 2 s, and the last one before the end.
    const most = 2 + Math.floor(tookMs / 2000);
    expect(new Set(shown.map(({ bitrateKbps }) => bitrateKbps)).size).toBeLessThanOrEqual(most);
    expect(watching.heard("update").length - before).toBeLessThanOrEqual(most + 3);
    const [session] = await server.database.query(
      "SELECT peak_viewers, bitrate_reports, bitrate_sum, mean_bitrate_kbps FROM stream_sessions WHERE stream_id = $1",
      [id],
    );
    expect(session).toEqual({
      peak_viewers: 500,
      bitrate_reports: reports,
      bitrate_sum: sum,
      mean_bitrate_kbps: Math.floor(sum / reports),
    });
  });

  it("may belong to learners, and get not_found for a stream that does not exist", async () => {
    const client = await connect(server.url, "/dashboard", await mintToken("lena"));
    server.keep(client);
    expect(await client.call("subscribe", { topic: "streams" })).toMatchObject({ ok: true });
    expect(await client.call("subscribe", { topic: "stream:nowhere" })).toMatchObject({
      ok: false,
      error: { code: "not_found" },
    });
  });

  it("are never told a key", async () => {
    const { id, key } = await server.newStream();
    const watching = await server.dashboard("streams");
    const client = await server.media();
    const sessionId = await client.publish(key);
    await server.streams.revoke(id);
    await client.dropOf(sessionId);
    await waitFor(() => watching.statuses().includes("revoked"), { what: "the dashboard to see it" });
    const told = JSON.stringify([watching.heard("update"), client.heard("stream:drop")]);
    expect(told).toContain(id);
    expect(told).not.toContain(key);
  });
});
