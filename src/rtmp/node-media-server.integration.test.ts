import { once } from "node:events";
import { Agent, request } from "node:http";
import type { Socket } from "node:net";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { WebSocket } from "ws";
import { type Encoder, startEncoder } from "../../test/helpers/encoder.ts";
import { FAKE_STREAM, type FakePublishServer, startFakePublishServer } from "../../test/helpers/fake-publish-server.ts";
import { type GuardedMediaServer, startGuardedMediaServer } from "../../test/helpers/guarded-media-server.ts";
import { waitFor } from "../../test/helpers/wait-for.ts";

const SECRET = "a secret of this media server";

/** Waits until more sessions than `before` have started. @returns the newest session */
async function nextStarted(server: FakePublishServer, before: number): Promise<string> {
  await waitFor(() => server.count("stream:started") > before, { what: "the start" });
  return String(server.calls.findLast(({ event }) => event === "stream:started")?.payload.sessionId);
}

describe("the guard of a real node-media-server", () => {
  let server: FakePublishServer;
  let media: GuardedMediaServer;
  let keys = 0;
  const encoders: Encoder[] = [];

  beforeAll(async () => {
    server = await startFakePublishServer();
    media = await startGuardedMediaServer({
      url: server.url,
      secret: SECRET,
      reportIntervalMs: 500,
      answerTimeoutMs: 2000,
      silenceTimeoutMs: 2000,
    });
  });
  afterEach(async () => {
    server.answerAsUsual("stream:validate");
    await Promise.all(encoders.splice(0).map((encoder) => encoder.kill()));
  });
  afterAll(async () => {
    await media.stop();
    await server.stop();
  });

  /** A new key for each test: node-media-server holds the name of a refused encoder for 30 s. */
  function newKey(): string {
    keys += 1;
    const key = `right-key-${keys}`;
    server.keys.set(key, {});
    return key;
  }

  function publish(url: string): Encoder {
    const encoder = startEncoder(url);
    encoders.push(encoder);
    return encoder;
  }

  /** The connection id of the newest question about this key. */
  function connectionOf(key: string): unknown {
    return server.calls.findLast(({ payload }) => payload.streamKey === key)?.payload.connectionId;
  }

  async function publishLive(key: string): Promise<{ encoder: Encoder; sessionId: string }> {
    const before = server.count("stream:started");
    const encoder = publish(`${media.rtmpUrl}/${key}`);
    return { encoder, sessionId: await nextStarted(server, before) };
  }

  it("lets an encoder with a right key publish, and reports its start, its figures and its end", async () => {
    const key = newKey();
    const { encoder, sessionId } = await publishLive(key);
    const asked = await server.heard("stream:validate", (payload) => payload.streamKey === key);
    expect(asked.payload).toEqual({
      streamKey: key,
      connectionId: expect.any(String),
      app: "live",
      clientIp: "127.0.0.1",
      protocol: "rtmp",
    });
    const { payload } = await server.heard("stream:stats", (figures) => figures.sessionId === sessionId);
    expect(payload.bitrateKbps).toBeGreaterThan(10);
    expect(payload.bitrateKbps).toBeLessThan(5000);
    expect(payload.viewers).toBe(0);
    // The encoder crashes: its end is reported at once, 30 s before donePublish.
    await encoder.kill();
    await server.heard("stream:ended", (end) => end.sessionId === sessionId);
  });

  it("refuses the encoder of a wrong key, though postPublish comes for it", async () => {
    const started = server.count("stream:started");
    const encoder = publish(`${media.rtmpUrl}/wrong-key`);
    const end = await encoder.exited;
    expect(end.code).toBeGreaterThan(0);
    expect(end.afterMs).toBeLessThan(5000);
    expect(await media.refused("unknown")).toMatchObject({ app: "live", clientIp: "127.0.0.1" });
    expect(media.said()).toContain("event postPublish");
    expect(server.count("stream:started")).toBe(started);
  });

  it("reads no media before the answer", async () => {
    const key = newKey();
    server.answer("stream:validate", () => null);
    const encoder = publish(`${media.rtmpUrl}/${key}`);
    await server.heard("stream:validate", (payload) => payload.streamKey === key);
    const viewer = await fetch(`${media.httpUrl}/${key}.flv`);
    const reader = (viewer.body as ReadableStream<Uint8Array>).getReader();
    const header = await reader.read();
    expect(header.value?.byteLength).toBe(13);
    let flowed = false;
    const next = reader.read().then(({ done }) => {
      flowed = !done;
    });
    await waitFor(() => encoder.sentMs() > 0 || !encoder.running(), { what: "the encoder to send" });
    expect(flowed).toBe(false);
    const session = { sessionId: "held", stream: FAKE_STREAM, lifetimeMs: 0 };
    server.sendLate("stream:validate", { ok: true, valid: true, ...session });
    await next;
    expect(flowed).toBe(true);
    await server.heard("stream:started", ({ sessionId }) => sessionId === "held");
    const watched = await server.heard("stream:stats", (figures) => figures.viewers === 1);
    expect(watched.payload.sessionId).toBe("held");
    await reader.cancel();
  });

  it("refuses an encoder if no answer comes", async () => {
    server.answer("stream:validate", () => null);
    const encoder = publish(`${media.rtmpUrl}/${newKey()}`);
    expect((await encoder.exited).code).toBeGreaterThan(0);
    await media.refused("unreachable");
  });

  it("cuts the encoder of a dropped session", async () => {
    const { encoder, sessionId } = await publishLive(newKey());
    await encoder.sendsOn();
    server.drop(sessionId, "revoked");
    expect((await encoder.exited).code).toBeGreaterThan(0);
    await media.refused("revoked");
  });

  it("refuses a second encoder of a live key, and the first goes on", async () => {
    const key = newKey();
    const { encoder: first, sessionId } = await publishLive(key);
    server.keys.set(key, { refuse: "already_live" });
    const second = publish(`${media.rtmpUrl}/${key}`);
    expect((await second.exited).code).toBeGreaterThan(0);
    await media.refused("already_live");
    await first.sendsOn();
    expect(
      server.calls.filter(({ event, payload }) => event === "stream:ended" && payload.sessionId === sessionId),
    ).toEqual([]);
  });

  it("ends an admitted session whose encoder node-media-server refuses because the path has a publisher", async () => {
    const key = newKey();
    const { encoder: first, sessionId } = await publishLive(key);
    const before = server.count("stream:started");
    const second = publish(`${media.rtmpUrl}/${key}`);
    const ended = await server.heard("stream:ended", (end) => end.reason === "closed by the media server");
    expect(ended.payload.sessionId).not.toBe(sessionId);
    expect((await second.exited).code).toBeGreaterThan(0);
    expect(server.count("stream:started")).toBe(before);
    await first.sendsOn();
  });

  it("admits a lost encoder again within the 30 s for which node-media-server holds its path", async () => {
    const key = newKey();
    const { encoder: first, sessionId: lost } = await publishLive(key);
    await first.kill();
    await server.heard("stream:ended", (end) => end.sessionId === lost);
    const { encoder: second, sessionId } = await publishLive(key);
    expect(sessionId).not.toBe(lost);
    await second.sendsOn();
    const ends = () =>
      server.calls.filter((call) => call.event === "stream:ended" && call.payload.sessionId === sessionId);
    expect(ends()).toEqual([]);
    const { payload } = await server.heard("stream:stats", (figures) => figures.sessionId === sessionId);
    // The bytes of the first encoder are not counted again.
    expect(payload.bitrateKbps).toBeLessThan(5000);
  });

  it("admits an encoder though a refused one holds its name", async () => {
    const key = newKey();
    server.keys.set(key, { refuse: "disabled" });
    await publish(`${media.rtmpUrl}/${key}`).exited;
    await media.refused("disabled");
    server.keys.set(key, {});
    const { encoder } = await publishLive(key);
    await encoder.sendsOn();
  });

  it("does not ask about a name that node-media-server does not accept", async () => {
    const before = server.calls.length;
    await publish(`${media.rtmpUrl}/dot.name`).exited;
    await media.refused("no_key");
    expect(server.calls.slice(before).filter(({ event }) => event === "stream:validate")).toEqual([]);
    expect(media.running()).toBe(true);
  });

  it("cuts an encoder that sends nothing", async () => {
    const { encoder, sessionId } = await publishLive(newKey());
    await encoder.sendsOn();
    process.kill(encoder.pid, "SIGSTOP");
    const { payload } = await server.heard("stream:ended", (end) => end.sessionId === sessionId);
    expect(payload.reason).toBe("silent");
    process.kill(encoder.pid, "SIGCONT");
    expect((await encoder.exited).code).toBeGreaterThan(0);
  });

  describe("with encoders over HTTP-FLV", () => {
    it("refuses the encoder of a wrong key", async () => {
      const encoder = publish(`${media.httpUrl}/wrong-flv-key.flv`);
      expect((await encoder.exited).code).toBeGreaterThan(0);
      await waitFor(() => connectionOf("wrong-flv-key"), { what: "the question" });
    });

    it("closes the connection of a dropped encoder that sends an endless request", async () => {
      const before = server.count("stream:started");
      const agent = new Agent({ keepAlive: true });
      const encoder = request(`${media.httpUrl}/${newKey()}.flv`, { method: "POST", agent });
      encoder.on("error", () => undefined); // `close` is the event that counts
      // A header, and the beginning of a tag of 16 MB.
      encoder.write(Buffer.from("464c5601050000000900000000" + "12ffffff00000000000000", "hex"));
      const timer = setInterval(() => encoder.write("more of it"), 50);
      const [socket] = (await once(encoder, "socket")) as [Socket];
      const closed = once(socket, "close");
      server.drop(await nextStarted(server, before), "disabled");
      await closed;
      clearInterval(timer);
    }, 20_000);

    it("lets an encoder with a right key publish, and reports its end", async () => {
      const key = newKey();
      const encoder = publish(`${media.httpUrl}/${key}.flv`);
      const { payload } = await server.heard("stream:stats", (figures) => Number(figures.bitrateKbps) > 10);
      await encoder.sendsOn();
      await encoder.kill();
      await server.heard("stream:ended", (end) => end.sessionId === payload.sessionId);
    });

    it("cuts the encoder of a dropped session", async () => {
      const key = newKey();
      const before = server.count("stream:started");
      const encoder = publish(`${media.httpUrl}/${key}.flv`);
      server.drop(await nextStarted(server, before), "disabled");
      expect((await encoder.exited).code).toBeGreaterThan(0);
    });
  });

  describe("with encoders over a WebSocket", () => {
    const connect = (key: string) => {
      const ws = new WebSocket(`${media.httpUrl.replace("http", "ws")}/${key}.flv`, "publisher");
      ws.on("error", () => undefined); // `close` is the event that counts
      const closed = new Promise((resolve) => ws.once("close", resolve));
      return { ws, closed };
    };

    it("closes the connection of a wrong key", async () => {
      await connect("wrong-ws-key").closed;
      expect(connectionOf("wrong-ws-key")).toEqual(expect.any(String));
      // An orderly close would take 30 s, because nothing is read from the encoder.
    }, 10_000);

    it("keeps the connection of a right key until the encoder leaves or is dropped", async () => {
      const before = server.count("stream:started");
      const first = connect(newKey());
      const sessionId = await nextStarted(server, before);
      first.ws.terminate();
      await server.heard("stream:ended", (end) => end.sessionId === sessionId);
      const second = connect(newKey());
      server.drop(await nextStarted(server, before + 1), "revoked");
      await second.closed;
    });
  });

  it("writes no key into its refusals and problems", () => {
    const lines = media.said().split("\n");
    const ours = lines.filter((line) => /^(refused|problem) /.test(line) || line.includes("Warning"));
    expect(ours.length).toBeGreaterThan(3);
    for (const line of ours) expect(line).not.toMatch(/(right|wrong)-/);
  });
});

describe("a node-media-server with keys in the query", () => {
  let server: FakePublishServer;
  let media: GuardedMediaServer;

  beforeAll(async () => {
    server = await startFakePublishServer();
    media = await startGuardedMediaServer({ url: server.url, secret: SECRET, keyFromQuery: true });
  });
  afterAll(async () => {
    await media.stop();
    await server.stop();
  });

  it("asks about the key in the query, and refuses a publisher without one", async () => {
    await startEncoder(`${media.rtmpUrl}/lecture`).exited;
    await media.refused("no_key");
    expect(server.calls).toEqual([]);
    // The refused encoder holds the name; another one from the same address may resume it.
    const encoder = startEncoder(`${media.rtmpUrl}/lecture?key=right-key`);
    const { payload } = await server.heard("stream:validate");
    expect(payload.streamKey).toBe("right-key");
    await encoder.sendsOn();
    await encoder.kill();
    await server.heard("stream:ended");
    expect(media.said()).not.toContain("right-key");
  });

  it("ends the live sessions when it is stopped", async () => {
    const before = server.count("stream:started");
    const encoder = startEncoder(`${media.rtmpUrl}/seminar?key=right-key`);
    const sessionId = await nextStarted(server, before);
    await media.stop();
    await encoder.exited;
    await server.heard("stream:ended", (end) => end.sessionId === sessionId);
  });
});
