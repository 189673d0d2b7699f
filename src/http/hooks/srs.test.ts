import { describe, expect, it } from "vitest";
import { createApi, HOOK_SECRET } from "../../../test/helpers/http-api.ts";
import { AppError } from "../../errors.ts";

const KEY = "phk_a-key";
/** The body of SRS 4 and newer. Older versions send a number as client id, and no server id. */
const PUBLISH = {
  server_id: "vid-0xk989d",
  service_id: "382k1u70",
  action: "on_publish",
  client_id: "9308h583",
  ip: "192.168.1.10",
  vhost: "video.test.com",
  app: "live",
  stream: KEY,
  param: "?token=xxx&salt=yyy",
  tcUrl: "rtmp://video.test.com/live",
};
const OLD = {
  action: "on_publish",
  client_id: 1985,
  ip: "192.168.1.10",
  vhost: "video.test.com",
  app: "live",
  stream: KEY,
};
const SERVER = { name: "srs:vid-0xk989d", boot: "382k1u70" };

function createSrs() {
  const { call, gate } = createApi();
  const post = (body: object, query = "") => call(`/v1/hooks/srs?secret=${HOOK_SECRET}${query}`, { body });
  return { post, gate };
}

describe("the hook of SRS", () => {
  it("asks the gate whether an encoder may publish, and accepts with status 200 and code 0", async () => {
    const { post, gate } = createSrs();
    const { status, body } = await post(PUBLISH);
    expect(status).toBe(200);
    expect(body).toEqual({ code: 0 });
    const request = {
      streamKey: KEY,
      connectionId: "9308h583",
      app: "live",
      clientIp: "192.168.1.10",
      protocol: "rtmp",
    };
    expect(gate.publish.mock.calls).toEqual([[SERVER, request, { reports: false }]]);
  });

  it("takes the body of an old version: a number as client id, and no server id", async () => {
    const { post, gate } = createSrs();
    expect((await post(OLD)).body).toEqual({ code: 0 });
    expect(gate.publish.mock.lastCall?.slice(0, 2)).toMatchObject([
      { name: "srs:srs", boot: "" },
      { connectionId: "1985" },
    ]);
    await post(OLD, "&server=ingest-1");
    expect(gate.publish.mock.lastCall?.[0].name).toBe("srs:ingest-1");
    await post(PUBLISH, "&server=ingest-1");
    expect(gate.publish.mock.lastCall?.[0]).toEqual({ name: "srs:ingest-1", boot: "382k1u70" });
  });

  it("takes the key from the query, if the stream's name is public", async () => {
    const { post, gate } = createSrs();
    await post({ ...PUBLISH, stream: "talk", param: `?vhost=a&key=${KEY}` });
    expect(gate.publish.mock.lastCall?.[1].streamKey).toBe(KEY);
    await post({ ...PUBLISH, stream: "talk", param: "" });
    expect(gate.publish.mock.lastCall?.[1].streamKey).toBe("talk");
  });

  it.each(["unknown", "expired", "revoked", "disabled", "already_live"] as const)(
    "refuses if the key is %s",
    async (reason) => {
      const { post, gate } = createSrs();
      gate.publish.mockResolvedValue({ valid: false, reason });
      const { status, body } = await post(PUBLISH);
      expect(status).toBe(403);
      expect(body).toEqual({ code: 1, message: expect.any(String) });
    },
  );

  it.each([
    ["rate_limited", 429],
    ["unavailable", 503],
  ] as const)("refuses while the gate's answer is %s", async (code, status) => {
    const { post, gate } = createSrs();
    gate.publish.mockRejectedValue(new AppError(code, "not now"));
    const answer = await post(PUBLISH);
    expect(answer.status).toBe(status);
    expect(answer.body.code).not.toBe(0);
  });

  it("reports a publisher that is gone", async () => {
    const { post, gate } = createSrs();
    expect(await post({ ...PUBLISH, action: "on_unpublish" })).toMatchObject({ status: 200, body: { code: 0 } });
    await post({ ...PUBLISH, action: "on_unpublish", stream: "talk", param: `?key=${KEY}` });
    const connection = { streamKey: KEY, connectionId: "9308h583", app: "live" };
    expect(gate.unpublish.mock.calls).toEqual([
      [SERVER, connection, "unpublished"],
      [SERVER, connection, "unpublished"],
    ]);
  });

  it("names a publisher that is gone by its connection, if the body has no query", async () => {
    const { post, gate } = createSrs();
    await post({ ...OLD, action: "on_unpublish", stream: "talk" });
    expect(gate.unpublish.mock.lastCall?.[1]).toEqual({ streamKey: null, connectionId: "1985", app: "live" });
  });

  it("renews the lease with every segment, and refuses only for a reason", async () => {
    const { post, gate } = createSrs();
    const segment = {
      ...PUBLISH,
      action: "on_hls",
      duration: 9.36,
      cwd: "/srs",
      file: "a.ts",
      url: "a.ts",
      seq_no: 100,
    };
    expect(await post(segment)).toMatchObject({ status: 200, body: { code: 0 } });
    expect(gate.update.mock.calls).toEqual([
      [SERVER, { streamKey: KEY, connectionId: "9308h583", app: "live" }, {}, { everySeconds: 9.36 }],
    ]);
    gate.update.mockResolvedValue("expired");
    expect(await post(segment)).toMatchObject({ status: 403, body: { code: 1 } });
  });

  it("takes the boot from the body", async () => {
    const { post, gate } = createSrs();
    await post({ ...PUBLISH, service_id: "run-7" });
    expect(gate.publish.mock.calls[0]?.[0]).toMatchObject({ boot: "run-7" });
  });

  it.each(["on_connect", "on_close", "on_stop", "on_dvr"])("accepts %s without asking the gate", async (action) => {
    const { post, gate } = createSrs();
    const { app, ip, client_id } = PUBLISH;
    expect(await post({ action, client_id, ip, app })).toMatchObject({ status: 200, body: { code: 0 } });
    for (const asked of [gate.publish, gate.update, gate.unpublish]) expect(asked).not.toHaveBeenCalled();
  });

  it("refuses to decide about players, and names the hook to remove", async () => {
    const { post } = createSrs();
    const { status, body } = await post({ ...PUBLISH, action: "on_play" });
    expect(status).toBe(403);
    expect(body).toEqual({ code: 1, message: expect.stringContaining("on_play") });
  });

  it.each([
    ["an unknown action", { ...PUBLISH, action: "on_forward" }],
    ["no stream", { ...PUBLISH, stream: "" }],
    ["no client", { ...PUBLISH, client_id: undefined }],
    ["half a client", { ...PUBLISH, client_id: 1.5 }],
    ["a list of streams", { ...PUBLISH, stream: [KEY] }],
    ["a key of 256 characters", { ...PUBLISH, stream: "talk", param: `?key=${"k".repeat(256)}` }],
  ])("refuses %s", async (_, body) => {
    const { post, gate } = createSrs();
    expect((await post(body)).status).toBe(400);
    expect(gate.publish).not.toHaveBeenCalled();
  });
});
