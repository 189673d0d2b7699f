import { expect } from "vitest";
import { ask, type KeyLife } from "./key-life.ts";
import { waitFor } from "./wait-for.ts";

/*
 * Failures of the database while keys are used.
 */

/** Makes statements fail for unexpected reasons: PostgreSQL's error messages quote the values. */
export async function meetFailures(life: KeyLife): Promise<void> {
  const { streamKey } = await life.create();
  const media = await life.connectMediaServer("ingest-2");
  const question = { streamKey, connectionId: "1", app: streamKey, clientIp: "192.0.2.1", protocol: "rtmp" };
  await life.query("ALTER TABLE stream_sessions ADD CONSTRAINT refused CHECK (server !~ ':(ingest-2|refused)$')");
  await life.query("ALTER TABLE streams ADD CONSTRAINT refused CHECK (title <> 'refused')");
  expect(await ask(media, "stream:validate", question)).toMatchObject({ ok: false, error: { code: "internal" } });
  expect(await life.hooks.nginx("on_publish", { name: streamKey, app: streamKey }, "refused")).toMatchObject({
    status: 500,
  });
  expect(await life.call("/v1/streams", { body: JSON.stringify({ title: "refused" }) })).toMatchObject({ status: 500 });
  await life.query("ALTER TABLE stream_sessions DROP CONSTRAINT refused");
  await life.query("ALTER TABLE streams DROP CONSTRAINT refused");

  await life.query("ALTER TABLE stream_sessions RENAME TO sessions_away");
  expect(await ask(media, "stream:validate", question)).toMatchObject({ ok: false, error: { code: "internal" } });
  await life.hooks.nginx("on_publish", { name: streamKey });
  await life.hooks.nginx("on_update", { name: streamKey });
  await life.hooks.nginx("on_publish_done", { name: streamKey });
  await life.query("ALTER TABLE sessions_away RENAME TO stream_sessions");
}

export async function loseDatabase(life: KeyLife): Promise<void> {
  const [known, unknown] = [await life.create(), await life.create()];
  const name = known.streamKey;
  const media = await life.connectMediaServer("ingest-3");
  await life.hooks.nginx("on_publish", { name, clientid: "7" });
  await life.hooks.nginx("on_publish_done", { name, clientid: "7" });
  await life.postgres.killImmediately();
  expect(await life.hooks.nginx("on_publish", { name, clientid: "8", app: `live/${name}` })).toMatchObject({
    status: 200,
  });
  expect(await life.hooks.nginx("on_publish", { name: unknown.streamKey })).toMatchObject({ status: 503 });
  expect(await life.hooks.nginx("on_update", { name, clientid: "8" })).toMatchObject({ status: 200 });
  await life.hooks.nginx("on_update", { name: unknown.streamKey });
  await life.hooks.nginx("on_publish_done", { name: unknown.streamKey });
  await ask(media, "stream:validate", { streamKey: name, connectionId: "1" });
  await ask(media, "stream:validate", { streamKey: unknown.streamKey, connectionId: "1" });
  expect(await life.call("/v1/streams", { body: JSON.stringify({ title: "x" }) })).toMatchObject({ status: 503 });
  await life.postgres.startAgain();
  await waitFor(async () => (await fetch(`${life.server.url}/readyz`)).status === 200, {
    what: "the server to be ready",
  });
  await life.until(known.stream.id, "live");
}
