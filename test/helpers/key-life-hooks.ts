import { expect } from "vitest";
import { type KeyLife, SECRET, toNearMisses } from "./key-life.ts";
import { waitFor } from "./wait-for.ts";

/*
 * Media servers that ask by HTTP, and send keys in every right and wrong place.
 */

/** Media servers that ask by HTTP, each with a stream of its own. */
export async function publishByHooks(life: KeyLife): Promise<void> {
  await publishByNginx(life);
  await publishBySrs(life);
  await publishByMediamtx(life);
  await publishByOme(life);
}

async function publishByNginx(life: KeyLife): Promise<void> {
  const { stream, streamKey: name } = await life.create();
  for (const wrong of toNearMisses(name)) await life.hooks.nginx("on_publish", { name: wrong });
  await waitFor(
    async () => (await life.hooks.nginx("on_publish", { name: `${name}-`, addr: "192.0.2.77" })).status === 429,
    {
      what: "too many wrong keys",
    },
  );
  await life.hooks.nginx("on_publish", { name, timestamp: name });
  await life.hooks.nginx("on_publish", { name, clientid: "" });
  await life.hooks.nginx("on_publish", { name: name.repeat(10) });
  for (const body of [`name=${name}&name=${name}`, `clientid=1&${name}=1`, JSON.stringify({ name })]) {
    await life.call(`/v1/hooks/nginx-rtmp/on_publish?secret=${SECRET}`, {
      body,
      type: "application/x-www-form-urlencoded",
    });
    await life.call(`/v1/hooks/nginx-rtmp/on_publish?secret=${SECRET}`, { body });
    await life.call(`/v1/hooks/nginx-rtmp/on_publish?secret=${name}`, { body });
    await life.call(`/v1/hooks/nginx-rtmp/${name}?secret=${SECRET}`, { body });
  }
  expect(await life.hooks.nginx("on_publish", { name, app: `live/${name}` })).toMatchObject({ status: 200 });
  expect(await life.hooks.nginx("on_publish", { name, clientid: "2" })).toMatchObject({ status: 403 });
  await life.hooks.nginx("on_update", { name, timestamp: "1000" });
  await life.hooks.nginx("on_update", { name, timestamp: name });
  await life.hooks.nginx("on_publish_done", { name });
  await life.until(stream.id, "reconnecting");
  await life.hooks.nginx("on_publish", { name, clientid: "3" });
  await life.until(stream.id, "live");
  // The control URL does not answer, which is logged.
  await life.command("disable", stream.id);
  await waitFor(() => life.server.process.stderr().includes("nginx could not be told"), { what: "a drop that fails" });
  await life.hooks.nginx("on_update", { name, clientid: "3" });
}

async function publishBySrs(life: KeyLife): Promise<void> {
  const { stream, streamKey } = await life.create();
  for (const wrong of toNearMisses(streamKey)) await life.hooks.srs({ action: "on_publish", stream: wrong });
  for (const fields of [
    { action: streamKey, stream: streamKey },
    { action: "on_publish", stream: [streamKey] },
    { action: "on_publish", stream: streamKey.repeat(20) },
    { action: "on_publish", stream: streamKey, client_id: { [streamKey]: 1 } },
    { action: "on_play", stream: streamKey },
  ]) {
    await life.hooks.srs(fields);
  }
  await life.call(`/v1/hooks/srs?secret=${SECRET}`, { body: `{"action":"on_publish","stream":"${streamKey}` });
  // The encoder has the whole address in its field for the server, and the key once more in the field for the key.
  const published = { stream: "talk", param: `?key=${streamKey}`, app: `live/${streamKey}` };
  expect(await life.hooks.srs({ action: "on_publish", ...published })).toMatchObject({ status: 200 });
  await life.hooks.srs({ action: "on_hls", ...published, url: `live/${streamKey}-1.ts` });
  await life.hooks.srs({ action: "on_unpublish", ...published });
  await life.until(stream.id, "reconnecting");
}

async function publishByMediamtx(life: KeyLife): Promise<void> {
  const { stream, streamKey } = await life.create();
  for (const wrong of toNearMisses(streamKey)) await life.hooks.mediamtx({ password: wrong });
  await life.hooks.mediamtx({ action: streamKey });
  await life.hooks.mediamtx({ action: "read", path: streamKey, query: `key=${streamKey}` });
  await life.hooks.mediamtx({ password: { [streamKey]: streamKey } });
  await life.hooks.mediamtx({ token: streamKey.repeat(10) });
  await life.hooks.mediamtx({ password: streamKey, id: "x".repeat(200) + streamKey });
  const path = `live/${streamKey}/${streamKey}`;
  for (const how of [{ password: streamKey }, { token: streamKey }, { query: `key=${streamKey}` }, {}]) {
    expect(await life.hooks.mediamtx({ path, ...how })).toMatchObject({ status: 204 });
  }
  await life.hooks.mediamtx({ action: "update", path });
  await life.hooks.mediamtx({ action: "unpublish", path });
  await life.until(stream.id, "reconnecting");
  // Old versions send no id; the path takes its place.
  expect(await life.hooks.mediamtx({ id: null, path })).toMatchObject({ status: 204 });
  await life.hooks.mediamtx({ action: "unpublish", id: null, path });
}

async function publishByOme(life: KeyLife): Promise<void> {
  const { stream, streamKey } = await life.create();
  for (const wrong of toNearMisses(streamKey))
    await life.hooks.ome({ url: `rtmp://ome.test/app/${encodeURIComponent(wrong)}` });
  for (const url of [streamKey, `rtmp//${streamKey}`, `rtmp://ome.test/app/%E0%A4%A?key=${streamKey}`, [streamKey]]) {
    expect((await life.hooks.ome({ url })).text).not.toContain("true");
  }
  await life.hooks.ome({ url: `rtmp://ome.test/app/${streamKey}`, direction: streamKey });
  await life.call("/v1/hooks/ovenmediaengine", { body: JSON.stringify({ url: streamKey }) });
  const url = `rtmp://ome.test/live/${streamKey}/${streamKey}`;
  expect((await life.hooks.ome({ url })).text).toContain('"allowed":true');
  await life.hooks.ome({ url, status: "closing" });
  await life.until(stream.id, "reconnecting");
}
