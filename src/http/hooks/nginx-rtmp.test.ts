import { describe, expect, it } from "vitest";
import { createApi, HOOK_SECRET } from "../../../test/helpers/http-api.ts";
import { AppError } from "../../errors.ts";

/** The forms that nginx 1.22 with nginx-rtmp-module 1.2.2 posts. */
const PFX =
  "app=live&flashver=FMLE/3.0%20(compatible%3B%20Lavf59.27&swfurl=&tcurl=rtmp://127.0.0.1:21935/live&pageurl=&addr=127.0.0.1";
const PUBLISH = `${PFX}&clientid=1&call=publish&name=okKEY_1&type=live&token=abc%20d&x=1`;
const UPDATE = `${PFX}&clientid=1&call=update_publish&time=2&timestamp=1956&name=okKEY_1&token=abc%20d&x=1`;
const DONE = `${PFX}&clientid=1&call=publish_done&name=okKEY_1&token=abc%20d&x=1`;
const SERVER = { name: "nginx-rtmp:nginx", boot: null };
const CONNECTION = { streamKey: "okKEY_1", connectionId: "1", app: "live" };

function createNginx() {
  const { call, gate } = createApi();
  const post = (event: string, body: string, query = "") =>
    call(`/v1/hooks/nginx-rtmp/${event}?secret=${HOOK_SECRET}${query}`, {
      method: "POST",
      body,
      headers: { "content-type": "application/x-www-form-urlencoded" },
    });
  return { post, gate };
}

describe("the hooks of nginx-rtmp", () => {
  it("ask the gate whether an encoder may publish, and announce reports", async () => {
    const { post, gate } = createNginx();
    expect((await post("on_publish", PUBLISH)).status).toBe(200);
    expect(gate.publish.mock.calls).toEqual([
      [SERVER, { ...CONNECTION, clientIp: "127.0.0.1", protocol: "rtmp" }, { reports: true }],
    ]);
  });

  it("take the server's name from the hook's address", async () => {
    const { post, gate } = createNginx();
    await post("on_publish", PUBLISH, "&server=ingest-1");
    await post("on_update", UPDATE, "&server=ingest-1");
    await post("on_publish_done", DONE, "&server=ingest-1");
    for (const asked of [gate.publish, gate.update, gate.unpublish]) {
      expect(asked.mock.calls[0]?.[0]).toEqual({ name: "nginx-rtmp:ingest-1", boot: null });
    }
    expect((await post("on_publish", PUBLISH, `&server=${"s".repeat(129)}`)).status).toBe(400);
    expect((await post("on_publish", PUBLISH, "&server=")).status).toBe(400);
  });

  it.each(["unknown", "expired", "revoked", "disabled", "already_live"] as const)(
    "refuse with 403 if the key is %s",
    async (reason) => {
      const { post, gate } = createNginx();
      gate.publish.mockResolvedValue({ valid: false, reason });
      const { status, body } = await post("on_publish", PUBLISH);
      expect(status).toBe(403);
      expect(body.code).toBe("forbidden");
    },
  );

  it.each([
    ["rate_limited", 429],
    ["unavailable", 503],
  ] as const)("refuse while the gate's answer is %s", async (code, status) => {
    const { post, gate } = createNginx();
    gate.publish.mockRejectedValue(new AppError(code, "not now"));
    expect((await post("on_publish", PUBLISH)).status).toBe(status);
  });

  it("report the media's time", async () => {
    const { post, gate } = createNginx();
    expect((await post("on_update", UPDATE)).status).toBe(200);
    expect(gate.update.mock.calls).toEqual([[SERVER, CONNECTION, { mediaTimeMs: 1956 }]]);
  });

  it.each(["", "-1", "x", "1e400"])("end nobody for a time of %j", async (timestamp) => {
    const { post, gate } = createNginx();
    expect((await post("on_update", UPDATE.replace("1956", timestamp))).status).toBe(200);
    expect(gate.update).toHaveBeenCalledTimes(1);
  });

  it("end a publisher whose key is no longer valid", async () => {
    const { post, gate } = createNginx();
    gate.update.mockResolvedValue("revoked");
    expect((await post("on_update", UPDATE)).status).toBe(403);
  });

  it("name a publisher that is gone by its connection, not by the key alone", async () => {
    const { post, gate } = createNginx();
    expect((await post("on_publish_done", DONE.replace("clientid=1", "clientid=2"))).status).toBe(200);
    expect(gate.unpublish.mock.calls).toEqual([[SERVER, { ...CONNECTION, connectionId: "2" }, "unpublished"]]);
  });

  it("take the event from the path, not from the form", async () => {
    const { post, gate } = createNginx();
    await post("on_publish", PUBLISH.replace("call=publish", "call=publish_done"));
    expect(gate.publish).toHaveBeenCalledTimes(1);
    expect(gate.unpublish).not.toHaveBeenCalled();
  });

  it.each([
    ["on_publish", `${PFX}&clientid=1&call=publish&name=okINJ&type=live`],
    ["on_update", `${PFX}&clientid=1&call=update_publish&time=2&timestamp=1956&name=okINJ`],
    ["on_publish_done", `${PFX}&clientid=1&call=publish_done&name=okINJ`],
  ])("refuse in %s fields that an encoder put behind its key to be taken for another", async (event, own) => {
    const { post, gate } = createNginx();
    const answers = [
      await post(event, `${own}&name=victim&call=publish_done&app=other`),
      await post(event, `${own}&name=victim`),
      await post(event, `${own}&clientid=2`),
      await post(event, `${own}&n%61me=victim`),
    ];
    for (const { status, body } of answers) {
      expect(status).toBe(400);
      expect(JSON.stringify(body)).not.toContain("victim");
    }
    for (const asked of [gate.publish, gate.update, gate.unpublish]) expect(asked).not.toHaveBeenCalled();
  });

  it("refuse at the start fields that would come twice in updates", async () => {
    const { post, gate } = createNginx();
    expect((await post("on_publish", `${PUBLISH}&timestamp=1`)).status).toBe(400);
    expect(gate.publish).not.toHaveBeenCalled();
  });

  it("let a relay publish, whose address is a URL", async () => {
    const { post, gate } = createNginx();
    const relayed = PUBLISH.replace("addr=127.0.0.1", `addr=rtmp://127.0.0.1:21936/${"x".repeat(100)}`);
    expect((await post("on_publish", relayed)).status).toBe(200);
    expect(gate.publish.mock.lastCall?.[1].clientIp).toBeUndefined();
  });

  it.each(["name", "clientid"])("refuse a form without %s", async (field) => {
    const { post, gate } = createNginx();
    const { status, body } = await post("on_publish", PUBLISH.replace(`${field}=`, "other="));
    expect(status).toBe(400);
    expect(body.issues[0].path).toBe(field);
    expect(gate.publish).not.toHaveBeenCalled();
  });

  it("refuse fields that the database cannot store", async () => {
    const { post, gate } = createNginx();
    expect((await post("on_publish", PUBLISH.replace("app=live", "app=li%00ve"))).status).toBe(400);
    expect((await post("on_publish", PUBLISH.replace("clientid=1", "clientid=%00"))).status).toBe(400);
    expect(gate.publish).not.toHaveBeenCalled();
  });
});
