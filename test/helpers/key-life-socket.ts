import { expect } from "vitest";
import { ask, type KeyLife, SECRET, toNearMisses } from "./key-life.ts";
import { connectRaw, type RawClient } from "./socket-client.ts";

/*
 * A media server on the socket, which sends keys in every right and wrong place.
 */

/** A media server on the socket: handshakes, checks of keys and reports, right and wrong ones. */
export async function publishBySocket(life: KeyLife): Promise<void> {
  const { stream, streamKey } = await life.create();
  await life.watch("streams", `stream:${stream.id}`);
  await refuseHandshakes(life, streamKey);
  const media = await life.connectMediaServer("ingest-1");
  for (const wrong of toNearMisses(streamKey)) {
    await ask(media, "stream:validate", { streamKey: wrong, connectionId: "w", clientIp: "192.0.2.66" });
  }
  let limited = "";
  for (let attempt = 0; attempt < 30 && limited === ""; attempt += 1) {
    const answer = await ask(media, "stream:validate", {
      streamKey: `${streamKey}${attempt}`,
      connectionId: "w",
      clientIp: "192.0.2.66",
    });
    if (answer.ok !== (true as unknown)) limited = JSON.stringify(answer);
  }
  expect(limited).toContain("rate_limited");

  const rotated = await life.makeKey(`/v1/streams/${stream.id}/rotate`, { graceSeconds: 600 });
  // People put their key into the wrong field of their encoder, and media servers pass that field on.
  const question = { streamKey: rotated.streamKey, connectionId: "1", app: `live/${streamKey}`, protocol: "rtmp" };
  await ask(media, "stream:validate", { ...question, streamKey });
  const { sessionId } = await ask(media, "stream:validate", question);
  life.usedAsIds.push(streamKey);
  await askMalformed(life, media, streamKey, sessionId as string);
  await ask(media, "stream:started", { sessionId });
  await ask(media, "stream:stats", { sessionId, bitrateKbps: 2500, viewers: 3, mediaTimeMs: 10 });
  await life.until(stream.id, "live");
  await ask(media, "stream:validate", { ...question, connectionId: "2" });
  await ask(media, "stream:ended", { sessionId, reason: `/live/${streamKey} is published no more` });
  await life.until(stream.id, "reconnecting");
  const again = await ask(media, "stream:validate", question);
  await ask(media, "stream:started", { sessionId: again.sessionId });
  await life.until(stream.id, "live");
  await life.call(`/v1/streams/${stream.id}/revoke`);
  await media.hear((frame) => frame.startsWith('42/rtmp,["stream:drop"'));
  await ask(media, "stream:validate", question);
  await life.call(`/v1/streams/${stream.id}/enable`);
  await life.call(`/v1/streams/${stream.id}/sessions`, { method: "GET" });
  await life.command("sessions", stream.id);
}

async function refuseHandshakes(life: KeyLife, streamKey: string): Promise<void> {
  for (const auth of [
    { secret: streamKey },
    { secret: SECRET, server: { [streamKey]: streamKey } },
    { [streamKey]: streamKey },
    { token: streamKey },
  ]) {
    const refused = await connectRaw(life.server.url);
    life.sockets.push(refused);
    refused.send(`40/rtmp,${JSON.stringify(auth)}`);
    refused.send(`40/dashboard,${JSON.stringify(auth)}`);
    await refused.hear((frame) => frame.startsWith("44/rtmp,"));
    await refused.hear((frame) => frame.startsWith("44/dashboard,"));
  }
}

async function askMalformed(life: KeyLife, media: RawClient, streamKey: string, sessionId: string): Promise<void> {
  for (const payload of [
    streamKey,
    [streamKey],
    { streamKey },
    { [streamKey]: 1 },
    { streamKey: [streamKey], connectionId: "1" },
    { streamKey: { [streamKey]: 1 }, connectionId: "1" },
    { streamKey: streamKey.repeat(10), connectionId: "1" },
    { streamKey, connectionId: { [streamKey]: streamKey } },
    { streamKey, connectionId: "1", app: [streamKey] },
    { streamKey, connectionId: "1", clientIp: streamKey.repeat(3) },
  ]) {
    expect(await ask(media, "stream:validate", payload)).toMatchObject({ ok: false, error: { code: "bad_request" } });
  }
  await ask(media, "stream:started", { sessionId: streamKey });
  await ask(media, "stream:stats", { sessionId, bitrateKbps: streamKey });
  await ask(media, "stream:stats", { sessionId: streamKey, viewers: 1 });
  await ask(media, "stream:ended", { sessionId: streamKey, reason: { [streamKey]: 1 } });
  await ask(media, streamKey, streamKey);
  await ask(media, "stream:validate", streamKey, streamKey);
  // Without an ack, the event `problem` says what was wrong.
  media.send(`42/rtmp,${JSON.stringify(["stream:validate", { streamKey }])}`);
  media.send(`42/rtmp,${JSON.stringify([streamKey, { streamKey }])}`);
  await media.hear((frame) => frame.includes('"problem"') && frame.includes("There is no call"));
  const dashboard = await life.watch(`stream:${streamKey}`, streamKey, `streams:${streamKey}`);
  await dashboard.callRaw("/dashboard", JSON.stringify([streamKey, { topic: streamKey }]));
  // A frame that is no packet ends the connection.
  const broken = await life.connectMediaServer("broken");
  broken.send(`42/rtmp,1["stream:validate",{"streamKey":"${streamKey}"`);
  await broken.closed;
}
