import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { STREAM } from "../../../test/helpers/fake-streams.ts";
import { createApi, HOOK_SECRET } from "../../../test/helpers/http-api.ts";
import { AppError } from "../../errors.ts";

const KEY = "phk_a-key";
const CLIENT = { address: "192.0.2.1", port: 40_001, user_agent: "OBS" };
const REQUEST = {
  direction: "incoming",
  protocol: "RTMP",
  status: "opening",
  url: `rtmp://ome.test:1935/app/${KEY}?resolution=1080p`,
  time: "2026-11-01T10:00:00.000Z",
};
const SERVER = { name: "ovenmediaengine:ovenmediaengine", boot: "" };

function createOme() {
  const { call, gate } = createApi();
  const post = (changes: { client?: object; request?: object }, query = "") => {
    const body = JSON.stringify({
      client: { ...CLIENT, ...changes.client },
      request: { ...REQUEST, ...changes.request },
    });
    const signature = createHmac("sha1", HOOK_SECRET).update(body).digest("base64url");
    return call(`/v1/hooks/ovenmediaengine${query}`, { body, headers: { "x-ome-signature": signature } });
  };
  return { post, call, gate };
}

describe("the hook of OvenMediaEngine", () => {
  it("asks the gate whether an encoder may publish, and answers with the lifetime", async () => {
    const { post, gate } = createOme();
    const { status, body } = await post({});
    expect(status).toBe(200);
    expect(body).toEqual({ allowed: true, lifetime: 0 });
    const request = {
      streamKey: KEY,
      connectionId: "192.0.2.1:40001",
      app: "app",
      clientIp: "192.0.2.1",
      protocol: "rtmp",
    };
    expect(gate.publish.mock.calls).toEqual([[SERVER, request, { reports: false }]]);
    gate.publish.mockResolvedValue({ valid: true, stream: STREAM, sessionId: "x", lifetimeMs: 0.4 });
    expect((await post({})).body).toEqual({ allowed: true, lifetime: 1 });
    await post({}, "?server=ingest-1");
    expect(gate.publish.mock.lastCall?.[0].name).toBe("ovenmediaengine:ingest-1");
  });

  it("takes the address of an encoder behind a proxy", async () => {
    const { post, gate } = createOme();
    await post({ client: { real_ip: "198.51.100.9" } });
    expect(gate.publish.mock.lastCall?.[1]).toMatchObject({
      clientIp: "198.51.100.9",
      connectionId: "192.0.2.1:40001",
    });
  });

  it.each([
    [`rtmp://ome.test/app/${KEY}`, KEY],
    [`wss://ome.test:3334/app/${KEY}?direction=send&transport=tcp`, KEY],
    [`srt://ome.test:9999/app/${KEY}/`, KEY],
    ["rtmp://ome.test/app/talk?key=q%2Fk", "q/k"],
    ["rtmp://ome.test/app/a%20b", "a b"],
  ])("finds the key in %s", async (url, key) => {
    const { post, gate } = createOme();
    expect((await post({ request: { url } })).body.allowed).toBe(true);
    expect(gate.publish.mock.lastCall?.[1].streamKey).toBe(key);
  });

  it.each(["unknown", "expired", "revoked", "disabled", "already_live"] as const)(
    "refuses with 200 if the key is %s",
    async (reason) => {
      const { post, gate } = createOme();
      gate.publish.mockResolvedValue({ valid: false, reason });
      expect(await post({})).toMatchObject({ status: 200, body: { allowed: false, reason: expect.any(String) } });
    },
  );

  it.each(["rate_limited", "unavailable"] as const)("refuses with 200 while the gate's answer is %s", async (code) => {
    const { post, gate } = createOme();
    gate.publish.mockRejectedValue(new AppError(code, "Not now."));
    expect(await post({})).toMatchObject({ status: 200, body: { allowed: false, reason: "Not now." } });
  });

  it("reports a publisher that is gone", async () => {
    const { post, gate } = createOme();
    const { status, body } = await post({ request: { status: "closing" } });
    expect(status).toBe(200);
    expect(body).toEqual({});
    expect(gate.unpublish.mock.calls).toEqual([
      [SERVER, { streamKey: KEY, connectionId: "192.0.2.1:40001" }, "unpublished"],
    ]);
    expect(gate.publish).not.toHaveBeenCalled();
  });

  it("refuses to decide about players, and tells how to exclude them", async () => {
    const { post, gate } = createOme();
    const opening = await post({ request: { direction: "outgoing" } });
    expect(opening).toMatchObject({
      status: 200,
      body: { allowed: false, reason: expect.stringContaining("providers") },
    });
    const closing = await post({ request: { direction: "outgoing", status: "closing" } });
    expect(closing).toMatchObject({ status: 200, body: {} });
    for (const asked of [gate.publish, gate.unpublish]) expect(asked).not.toHaveBeenCalled();
  });

  it("refuses an address without a key", async () => {
    const { post, gate } = createOme();
    expect((await post({ request: { url: "rtmp://ome.test" } })).body).toMatchObject({ allowed: false });
    expect(gate.publish).not.toHaveBeenCalled();
  });

  it.each([
    ["no address", { url: KEY }],
    ["a malformed address", { url: "rtmp://ome.test/app/%zz" }],
    ["a key of 256 characters", { url: `rtmp://ome.test/app/${"k".repeat(256)}` }],
    ["an unknown status", { status: "paused" }],
    ["a list", { url: [KEY] }],
  ])("refuses %s", async (_, request) => {
    const { post, gate } = createOme();
    const { status, body } = await post({ request });
    expect(status).toBe(400);
    expect(JSON.stringify(body)).not.toContain(KEY);
    expect(gate.publish).not.toHaveBeenCalled();
  });

  it("checks the signature of the body exactly as it came", async () => {
    const { call, gate } = createOme();
    const body = JSON.stringify({ client: CLIENT, request: REQUEST });
    const signature = createHmac("sha1", HOOK_SECRET).update(body).digest("base64url");
    const post = (text: string, given: string) =>
      call("/v1/hooks/ovenmediaengine", { body: text, headers: { "x-ome-signature": given } });
    expect((await post(body, `${signature}=`)).status).toBe(200);
    expect((await post(`${body} `, signature)).status).toBe(401);
    expect((await post(body, signature.slice(1))).status).toBe(401);
    expect((await call(`/v1/hooks/ovenmediaengine?secret=${HOOK_SECRET}`, { body })).status).toBe(401);
    expect(gate.publish).toHaveBeenCalledTimes(1);
  });
});
