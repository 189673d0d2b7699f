import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../helpers/database.ts";
import { type Encoder, startEncoder } from "../helpers/encoder.ts";
import { startFlowServer } from "../helpers/flow-server.ts";
import { findFreePort } from "../helpers/free-port.ts";
import { readConfiguration, substitute } from "../helpers/how-to.ts";
import { type RunningProcess, runProcess } from "../helpers/run-process.ts";
import type { ServerProcess } from "../helpers/server-process.ts";
import { createStreamsApi } from "../helpers/streams-api.ts";
import { makeTemporaryFolder } from "../helpers/temporary-folder.ts";
import { mintToken } from "../helpers/tokens.ts";
import { type WatchedStream, watchStream } from "../helpers/watched-stream.ts";

/*
 * The script of docs/media-servers/node-media-server.md, unchanged but for its ports and the places of its modules.
 */

const SECRET = "change-this-secret";

describe("the script of the page about node-media-server", () => {
  let database: TestDatabase;
  let server: ServerProcess;
  let mediaServer: RunningProcess;
  let folder: string;
  let rtmpPort: string;
  const encoders: Encoder[] = [];
  const watched: WatchedStream[] = [];

  beforeAll(async () => {
    database = await createTestDatabase();
    server = await startFlowServer({ DATABASE_URL: database.url, RTMP_SECRETS: SECRET });
    folder = await makeTemporaryFolder();
    rtmpPort = await findFreePort();
    const script = substitute(readConfiguration("node-media-server", "js"), {
      '"playhead/rtmp/node-media-server"': JSON.stringify(
        join(import.meta.dirname, "../../src/rtmp/node-media-server.ts"),
      ),
      '"node-media-server"': JSON.stringify(import.meta.resolve("node-media-server")),
      "http://127.0.0.1:8080": server.url,
      "0.0.0.0": "127.0.0.1",
      "port: 1935": `port: ${rtmpPort}`,
      "port: 8000": `port: ${await findFreePort()}`,
    });
    await writeFile(join(folder, "package.json"), JSON.stringify({ type: "module" }));
    await writeFile(join(folder, "ingest.ts"), script);
    mediaServer = runProcess(join(folder, "ingest.ts"), [], { cwd: folder, env: { PLAYHEAD_SECRET: SECRET } });
    await mediaServer.said("Store ready");
  });
  afterEach(async () => {
    await Promise.all(encoders.splice(0).map((encoder) => encoder.kill()));
    for (const dashboard of watched.splice(0)) dashboard.close();
  });
  afterAll(async () => {
    mediaServer?.child.kill("SIGKILL");
    await mediaServer?.exited;
    await server?.kill();
    await database?.drop();
    await rm(folder, { recursive: true, force: true });
  });

  async function makeStream() {
    const { stream, streamKey } = await api().then((streams) => streams.create());
    const dashboard = await watchStream({ url: server.url, token: await mintToken("bob"), streamId: stream.id });
    watched.push(dashboard);
    return { id: stream.id, key: streamKey, dashboard };
  }

  async function api() {
    return createStreamsApi({ url: server.url, token: await mintToken("alice") });
  }

  function publish(nameAndKey: string): Encoder {
    const encoder = startEncoder(`rtmp://127.0.0.1:${rtmpPort}/live/${nameAndKey}`);
    encoders.push(encoder);
    return encoder;
  }

  it("lets a right key publish under a name that is not the key, and cuts its encoder when it is revoked", async () => {
    const made = await makeStream();
    const encoder = publish(`talk?key=${made.key}`);
    await made.dashboard.until("live");
    await encoder.sendsOn();
    await (await api()).revoke(made.id);
    await made.dashboard.until("revoked");
    expect((await encoder.exited).code).toBe(1);
    expect(mediaServer.stdout()).not.toContain(made.key);
  });

  it("refuses a wrong key and a missing key, and logs why", async () => {
    await Promise.all([publish("other?key=phk_nobody-has-this-key").exited, publish("another").exited]);
    await expect.poll(() => mediaServer.stderr()).toMatch(/refused in live, from 127\.0\.0\.1: unknown/);
    await expect.poll(() => mediaServer.stderr()).toMatch(/refused in live, from 127\.0\.0\.1: no_key/);
  });

  it("reports the end of live streams when it is stopped", async () => {
    const made = await makeStream();
    publish(`last?key=${made.key}`);
    await made.dashboard.until("live");
    mediaServer.child.kill("SIGTERM");
    expect(await mediaServer.exited).toBe(0);
    await made.dashboard.until("reconnecting");
  });
});
