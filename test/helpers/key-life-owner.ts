import { expect } from "vitest";
import { ask, type KeyLife, type Made } from "./key-life.ts";

/*
 * What owners do with keys: make them, rightly and in malformed requests, and end them.
 */

/** Makes keys by HTTP and on the command line. Sends malformed requests with a key in every wrong place. */
export async function makeKeys(life: KeyLife): Promise<void> {
  const { stream, streamKey } = await life.create({ expiresAt: "2199-01-01T00:00:00Z" });
  const [json] = await Promise.all([
    life.command("create", "--user", "alice", "--title", "By command", "--json"),
    life.command("create", "--user", "alice", "--title", "For a person"),
  ]);
  const made = JSON.parse(json) as Made;
  await Promise.all([
    life.command("rotate", made.stream.id, "--grace", "600"),
    life.command("list"),
    life.command("list", "--json"),
  ]);
  life.usedAsIds.push(streamKey);
  const malformed = [
    ...[
      streamKey,
      `"${streamKey}"`,
      `["${streamKey}"]`,
      `{"title":"x","streamKey":"${streamKey}`,
      `{"${streamKey}":1}`,
    ],
    ...["title", "expiresAt", "policy", "reconnectWindowSeconds", "userId"].map((field) =>
      JSON.stringify({ title: "x", [field]: { [streamKey]: streamKey } }),
    ),
    ...["expiresAt", "policy", "reconnectWindowSeconds"].map((field) =>
      JSON.stringify({ title: "x", [field]: streamKey }),
    ),
    JSON.stringify({ title: "x", filler: streamKey.repeat(2000) }),
  ];
  for (const body of malformed) {
    expect((await life.call("/v1/streams", { body })).status).toBeGreaterThanOrEqual(400);
    await life.call(`/v1/streams/${stream.id}`, { method: "PATCH", body });
    await life.call(`/v1/streams/${stream.id}/rotate`, { body: body.replace(/^\{/, '{"graceSeconds":"x",') });
    await life.call("/v1/streams", { body, type: `text/${streamKey}` });
    await life.call("/v1/hooks/srs", { body });
  }
  for (const path of [
    `/v1/streams/${streamKey}`,
    `/v1/streams/${streamKey}/sessions`,
    `/${streamKey}?key=${streamKey}`,
  ]) {
    expect((await life.call(path, { method: "GET" })).status).toBe(404);
  }
  await life.call(`/v1/streams/${streamKey}/revoke`);
  await life.call(`/v1/streams?after=${streamKey}&limit=${streamKey}&mine=${streamKey}`, { method: "GET" });
  await life.call(`/v1/streams?limit=${streamKey}`, { method: "GET", as: streamKey });
  await life.call("/v1/streams", { method: "GET" });
  await life.call(`/v1/streams/${stream.id}`, { method: "GET" });
  await life.call(`/v1/streams/${stream.id}`, { method: "PATCH", body: JSON.stringify({ title: "Another talk" }) });
}

/** Keys that expire, and keys that their owner ends. */
export async function endKeys(life: KeyLife): Promise<void> {
  const { stream, streamKey } = await life.create();
  const media = await life.connectMediaServer("ingest-4");
  const question = { streamKey, connectionId: "1" };
  const { sessionId } = await ask(media, "stream:validate", question);
  await ask(media, "stream:started", { sessionId });
  const dashboard = await life.watch(`stream:${stream.id}`);
  await life.query("UPDATE streams SET expires_at = clock_timestamp() + interval '100 ms' WHERE id = $1", [stream.id]);
  await media.hear((frame) => frame.startsWith('42/rtmp,["stream:drop"') && frame.includes("expired"));
  await dashboard.hear((frame) => frame.includes('"status":"expired"'));
  expect(await ask(media, "stream:validate", question)).toMatchObject({ valid: false, reason: "expired" });
  await life.command("rotate", stream.id);
  await life.call(`/v1/streams/${stream.id}`, { method: "PATCH", body: JSON.stringify({ expiresAt: null }) });
  await life.command("revoke", stream.id);
  await life.call(`/v1/streams/${stream.id}`, { method: "DELETE", body: "" });
}
