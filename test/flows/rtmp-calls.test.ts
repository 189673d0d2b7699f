import { describe, expect, it } from "vitest";
import { connectMediaServer, type MediaServerAuth } from "../helpers/media-server.ts";
import { type RtmpServer, SECRETS, useRtmpServer } from "../helpers/rtmp-server.ts";
import { ConnectError, connectRaw } from "../helpers/socket-client.ts";

/*
 * Which media servers are let in, and which of their calls are refused.
 */

let server: RtmpServer;
useRtmpServer((started) => {
  server = started;
});

async function refusalOf(connecting: Promise<unknown>): Promise<ConnectError["data"]> {
  const error = await connecting.then(
    () => new Error("it was let in"),
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof ConnectError)) throw error;
  return error.data;
}

describe("a media server that connects", () => {
  it("is let in with any of the secrets", async () => {
    for (const secret of SECRETS) {
      expect(await (await server.media({ secret })).validate("nobody's")).toEqual({
        ok: true,
        valid: false,
        reason: "unknown",
      });
    }
  });

  it.each<[string, MediaServerAuth, string]>([
    ["a wrong secret", { secret: "wrong" }, "unauthenticated"],
    ["no secret", { server: "edge" }, "unauthenticated"],
    ["all secrets in one", { secret: SECRETS.join() }, "unauthenticated"],
    ["an empty secret", { secret: "" }, "bad_request"],
    ["an array of the secret", { secret: [SECRETS[0]] }, "bad_request"],
    ["an object", { secret: { 0: SECRETS[0] } }, "bad_request"],
    ["a secret of 10 KB", { secret: "x".repeat(10_000) }, "bad_request"],
    ["a right secret and a number for a name", { secret: SECRETS[0], server: 7 }, "bad_request"],
    ["a right secret and a name of 129 characters", { secret: SECRETS[0], server: "x".repeat(129) }, "bad_request"],
    ["a right secret and a boot with U+0000", { secret: SECRETS[0], boot: "\u0000" }, "bad_request"],
  ])("is refused with %s", async (_, auth, code) => {
    const data = await refusalOf(connectMediaServer(server.url, auth));
    expect(data?.code).toBe(code);
    expect(JSON.stringify(data)).not.toContain(SECRETS[0]);
  });

  it("is refused with auth that is no object, and nothing breaks", async () => {
    for (const auth of ["null", "[]", '["the-first-secret"]', '"the-first-secret"', "7", ""]) {
      const raw = await connectRaw(server.url);
      server.keep(raw);
      raw.send(`40/rtmp,${auth}`);
      const refused = raw
        .hear((frame) => frame.startsWith("44/rtmp,"))
        .then(
          () => "refused",
          () => "silence",
        );
      expect(await Promise.race([refused, raw.closed.then(() => "closed")])).not.toBe("silence");
      expect(raw.frames.filter((frame) => frame.startsWith("40/rtmp"))).toEqual([]);
    }
  });

  it("is told to wait after many wrong secrets from its address, but gets in with a right one", async () => {
    const codes: (string | undefined)[] = [];
    for (let i = 0; i < 40; i++)
      codes.push((await refusalOf(connectMediaServer(server.url, { secret: `w${i}` })))?.code);
    expect(codes.at(-1)).toBe("rate_limited");
    const data = await refusalOf(connectMediaServer(server.url, { secret: "wrong" }));
    expect(data?.retryAfterMs).toBeGreaterThan(0);
    await server.media();
  });

  it("counts as another server with every connection when it has no name", async () => {
    const { id, key } = await server.newStream();
    const [first, second] = [
      await server.media({ server: undefined, boot: undefined }),
      await server.media({ server: undefined, boot: undefined }),
    ];
    const sessionId = await first.publish(key, "1");
    expect(await second.validate(key, "1")).toEqual({ ok: true, valid: false, reason: "already_live" });
    expect(await second.call("stream:ended", { sessionId })).toMatchObject({ ok: false, error: { code: "not_found" } });
    expect(await server.rows(id)).toMatchObject([{ status: "live", claim: sessionId }]);
    await server.streams.revoke(id);
    expect(await first.dropOf(sessionId)).toBe("revoked");
  });

  it("may come back under its name and go on with its sessions", async () => {
    const { key } = await server.newStream();
    const name = { server: "returning", boot: "b7" };
    const first = await server.media(name);
    const sessionId = await first.publish(key);
    first.close();
    const second = await server.media(name);
    expect(await second.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
    const ended = await second.call("stream:ended", { sessionId });
    expect(ended).toMatchObject({ ok: true, stream: { status: "reconnecting" } });
  });
});

describe("a call that is malformed", () => {
  const LONG = "x".repeat(10_000);
  const BAD: [string, string, unknown[]][] = [
    ["no key", "stream:validate", [{ connectionId: "c" }]],
    ["no connection", "stream:validate", [{ streamKey: "k" }]],
    ["an empty key", "stream:validate", [{ streamKey: "", connectionId: "c" }]],
    ["a key of 10 KB", "stream:validate", [{ streamKey: LONG, connectionId: "c" }]],
    ["a number for a key", "stream:validate", [{ streamKey: 7, connectionId: "c" }]],
    ["an array of keys", "stream:validate", [{ streamKey: ["k"], connectionId: "c" }]],
    ["an object for a key", "stream:validate", [{ streamKey: { toString: "k" }, connectionId: "c" }]],
    ["a connection of 10 KB", "stream:validate", [{ streamKey: "k", connectionId: LONG }]],
    ["a number for a connection", "stream:validate", [{ streamKey: "k", connectionId: 7 }]],
    ["a connection with U+0000", "stream:validate", [{ streamKey: "k", connectionId: "c\u0000" }]],
    ["an app with U+0000", "stream:validate", [{ streamKey: "KEY", connectionId: "c", app: "a\u0000" }]],
    ["an address with U+0000", "stream:validate", [{ streamKey: "KEY", connectionId: "c", clientIp: "\u0000" }]],
    ["a protocol with U+0000", "stream:validate", [{ streamKey: "KEY", connectionId: "c", protocol: "\u0000" }]],
    ["an app of 10 KB", "stream:validate", [{ streamKey: "KEY", connectionId: "c", app: LONG }]],
    ["nothing", "stream:validate", []],
    ["an array", "stream:validate", [["k", "c"]]],
    ["null", "stream:started", [null]],
    ["a text", "stream:started", ["SESSION"]],
    ["a number for a session", "stream:started", [{ sessionId: 7 }]],
    ["an array of sessions", "stream:ended", [{ sessionId: ["SESSION"] }]],
    ["a session of 10 KB", "stream:ended", [{ sessionId: LONG }]],
    ["a session with U+0000", "stream:ended", [{ sessionId: "SESSION\u0000" }]],
    ["a reason of 10 KB", "stream:ended", [{ sessionId: "SESSION", reason: LONG }]],
    ["a reason with U+0000", "stream:ended", [{ sessionId: "SESSION", reason: "\u0000" }]],
    ["a number for a reason", "stream:ended", [{ sessionId: "SESSION", reason: 7 }]],
    ["a negative bitrate", "stream:stats", [{ sessionId: "SESSION", bitrateKbps: -1 }]],
    ["half a viewer", "stream:stats", [{ sessionId: "SESSION", viewers: 0.5 }]],
    ["NaN for viewers, which JSON writes as null", "stream:stats", [{ sessionId: "SESSION", viewers: Number.NaN }]],
    ["more viewers than there are people", "stream:stats", [{ sessionId: "SESSION", viewers: 1e12 }]],
    ["a text for the media time", "stream:stats", [{ sessionId: "SESSION", mediaTimeMs: "7" }]],
  ];

  it.each(BAD)("is refused as bad_request with %s, and changes nothing: %s", async (_what, event, given) => {
    const { id, key } = await server.newStream();
    const client = await server.media();
    const sessionId = await client.publish(key);
    const before = await server.rows(id);
    const filled = JSON.parse(JSON.stringify(given).replaceAll("SESSION", sessionId).replaceAll("KEY", key));
    const answer = await client.call(event, ...filled);
    expect(answer).toMatchObject({ ok: false, error: { code: "bad_request" } });
    expect(JSON.stringify(answer)).not.toContain(key);
    expect(await server.rows(id)).toEqual(before);
    expect(await client.call("stream:stats", { sessionId, viewers: 1 })).toMatchObject({ ok: true });
  });

  it("is refused in binary, whatever it holds", async () => {
    const { id } = await server.newStream();
    const client = await server.media();
    const before = await server.rows(id);
    // The protocol has no binary: the connection that sends it is closed.
    await expect(client.validate(Buffer.from("key"))).rejects.toThrow("disconnected");
    expect(await server.rows(id)).toEqual(before);
    expect(await (await server.media()).validate("k")).toMatchObject({ ok: true, valid: false });
  });

  it("is told which calls there are when its name is unknown, and changes nothing without an ack", async () => {
    const { id, key } = await server.newStream();
    const client = await server.media();
    const unknown = await client.call("stream:publish", { streamKey: key, connectionId: "c" });
    expect(unknown).toMatchObject({ ok: false, error: { code: "bad_request" } });
    expect(JSON.stringify(unknown)).toContain("stream:validate");
    client.socket.emit("stream:validate", { streamKey: key, connectionId: "c" });
    expect(await client.hear("problem")).toMatchObject({ error: { code: "bad_request" } });
    expect(await server.rows(id)).toMatchObject([{ status: "ready", claim: null }]);
  });

  it("is refused for a session of another server or boot, an ended and a made-up one, and changes nothing", async () => {
    const { id, key } = await server.newStream({ reconnectWindowSeconds: 0 });
    const owner = await server.media({ server: "owner", boot: "b1" });
    const sessionId = await owner.publish(key);
    const before = await server.rows(id);
    const others = [
      await server.media(),
      await server.media({ server: "owner", boot: "b2" }),
      await server.media({ server: "owner", boot: undefined }),
    ];
    for (const event of ["stream:started", "stream:stats", "stream:ended"]) {
      for (const other of others) {
        expect(await other.call(event, { sessionId })).toMatchObject({ ok: false, error: { code: "not_found" } });
      }
      expect(await owner.call(event, { sessionId: "made-up" })).toMatchObject({
        ok: false,
        error: { code: "not_found" },
      });
    }
    expect(await server.rows(id)).toEqual(before);
    await owner.call("stream:ended", { sessionId });
    const ended = await server.rows(id);
    for (const event of ["stream:started", "stream:stats", "stream:ended"]) {
      expect(await owner.call(event, { sessionId })).toMatchObject({ ok: false, error: { code: "conflict" } });
    }
    expect(await server.rows(id)).toEqual(ended);
  });
});

describe("wrong keys", () => {
  it("are limited for one address, while a right key from there is valid and other addresses are not limited", async () => {
    const { key } = await server.newStream();
    const client = await server.media();
    const from = { clientIp: "192.0.2.7" };
    const answers = await Promise.all(
      Array.from({ length: 60 }, (_, i) => client.validate(`wrong-${i}`, `c${i}`, from)),
    );
    const limited = answers.filter((answer) => !answer.ok && answer.error.code === "rate_limited");
    expect(limited.length).toBeGreaterThan(30);
    expect(limited[0]).toMatchObject({ error: { retryAfterMs: expect.any(Number) } });
    expect(await client.validate(key, "right", from)).toMatchObject({ ok: true, valid: true });
    expect(await client.validate("wrong", "c", { clientIp: "192.0.2.8" })).toMatchObject({
      ok: true,
      reason: "unknown",
    });
    expect(await (await server.media()).validate("wrong", "c", from)).toMatchObject({ ok: true, reason: "unknown" });
  });

  it("are limited for one server over all addresses, and right keys beside them are valid", async () => {
    const streams = await Promise.all(Array.from({ length: 10 }, () => server.newStream()));
    const client = await server.media();
    const wrong = Promise.all(
      Array.from({ length: 1000 }, (_, i) =>
        client.validate(`wrong-${i}`, `c${i}`, { clientIp: `198.51.${i >> 8}.${i & 255}` }),
      ),
    );
    const right = await Promise.all(streams.map(({ key }, i) => client.validate(key, `right-${i}`)));
    expect(right.filter((answer) => answer.ok && answer.valid)).toHaveLength(streams.length);
    const codes = (await wrong).map((answer) => (answer.ok ? "ok" : answer.error.code));
    expect(codes.filter((code) => code === "rate_limited").length).toBeGreaterThan(300);
    expect(codes.filter((code) => !["ok", "rate_limited"].includes(code))).toEqual([]);
  });
});
