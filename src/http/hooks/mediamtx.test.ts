import { describe, expect, it } from "vitest";
import { createApi, HOOK_SECRET } from "../../../test/helpers/http-api.ts";
import { AppError } from "../../errors.ts";

const KEY = "phk_a-key";
const PUBLISH = {
  ip: "192.0.2.7",
  user: "anybody",
  password: KEY,
  token: "",
  action: "publish",
  path: "live/talk",
  protocol: "rtmp",
  id: "6f0c5d4e-2f0a-4f2e-9a56-6a3ad0b1c1de",
  query: "",
};
const SERVER = { name: "mediamtx:mediamtx", boot: "" };

function createMediamtx() {
  const { call, gate } = createApi();
  const post = (body: object, query = "") => call(`/v1/hooks/mediamtx?secret=${HOOK_SECRET}${query}`, { body });
  return { post, gate };
}

describe("the hook of MediaMTX", () => {
  it("asks the gate whether an encoder may publish", async () => {
    const { post, gate } = createMediamtx();
    const { status, body } = await post(PUBLISH);
    expect(status).toBe(204);
    expect(body).toBe("");
    const request = { streamKey: KEY, connectionId: PUBLISH.id, app: "live", clientIp: "192.0.2.7", protocol: "rtmp" };
    expect(gate.publish.mock.calls).toEqual([[SERVER, request, { reports: false }]]);
    await post(PUBLISH, "&server=ingest-1");
    expect(gate.publish.mock.lastCall?.[0].name).toBe("mediamtx:ingest-1");
  });

  it.each([
    ["the password", { password: "p", token: "t", query: "key=q", path: "live/n" }, "p"],
    ["else the token", { password: "", token: "t", query: "key=q", path: "live/n" }, "t"],
    ["else `key` in the query", { password: "", token: "", query: "a=b&key=q", path: "live/n" }, "q"],
    ["else the end of the path", { password: "", token: "", query: "a=b", path: "live/n" }, "n"],
    [
      "the end of the path, if the other fields are missing",
      { password: undefined, token: null, query: undefined, path: "/n/" },
      "n",
    ],
  ])("takes the key from %s", async (_, given, key) => {
    const { post, gate } = createMediamtx();
    expect((await post({ ...PUBLISH, ...given })).status).toBe(204);
    expect(gate.publish.mock.lastCall?.[1].streamKey).toBe(key);
  });

  it("stores no part of the path that may be the key", async () => {
    const { post, gate } = createMediamtx();
    await post({ ...PUBLISH, password: "", path: KEY, id: undefined });
    await post({ ...PUBLISH, password: "", path: `live/${KEY}`, id: "" });
    for (const [, { streamKey, ...stored }] of gate.publish.mock.calls) {
      expect(streamKey).toBe(KEY);
      expect(JSON.stringify(stored)).not.toContain(KEY);
    }
  });

  it.each(["unknown", "expired", "revoked", "disabled", "already_live"] as const)(
    "refuses with 403 if the key is %s",
    async (reason) => {
      const { post, gate } = createMediamtx();
      gate.publish.mockResolvedValue({ valid: false, reason });
      expect((await post(PUBLISH)).status).toBe(403);
    },
  );

  it("asks a client for credentials that gave none and whose path is no key", async () => {
    const { post, gate } = createMediamtx();
    const unasked = { ...PUBLISH, password: "", protocol: "rtsp" };
    expect((await post({ ...unasked, path: "" })).status).toBe(401);
    expect(gate.publish).not.toHaveBeenCalled();
    gate.publish.mockResolvedValue({ valid: false, reason: "unknown" });
    expect((await post(unasked)).status).toBe(401);
    gate.publish.mockRejectedValue(new AppError("rate_limited", "too many"));
    expect((await post(unasked)).status).toBe(401);
    expect((await post(PUBLISH)).status).toBe(429);
    gate.publish.mockResolvedValue({ valid: false, reason: "revoked" });
    expect((await post(unasked)).status).toBe(403);
    gate.publish.mockRejectedValue(new AppError("unavailable", "away"));
    expect((await post(unasked)).status).toBe(503);
  });

  it.each(["read", "playback", "api", "metrics", "pprof"])(
    "refuses the action %s, and tells how to exclude it",
    async (action) => {
      const { post, gate } = createMediamtx();
      const { status, body } = await post({ ...PUBLISH, action });
      expect(status).toBe(403);
      expect(body.detail).toContain(`list ${action} in authHTTPExclude`);
      expect(gate.publish).not.toHaveBeenCalled();
    },
  );

  it("takes reports of command hooks, which know the connection but not the key", async () => {
    const { post, gate } = createMediamtx();
    const { id, path } = PUBLISH;
    const connection = { streamKey: null, connectionId: id };
    expect((await post({ action: "update", path, id, query: "" })).status).toBe(204);
    expect(gate.update.mock.calls).toEqual([[SERVER, connection, {}]]);
    expect((await post({ action: "unpublish", path, id })).status).toBe(204);
    expect(gate.unpublish.mock.calls).toEqual([[SERVER, connection, "unpublished"]]);
    gate.update.mockResolvedValue("disabled");
    expect((await post({ action: "update", path, id })).status).toBe(403);
  });

  it("tells connections without an id apart by address and path", async () => {
    const { post, gate } = createMediamtx();
    const { ip, path } = PUBLISH;
    await post({ ...PUBLISH, id: "" });
    await post({ action: "unpublish", ip, path });
    await post({ action: "unpublish", ip, path: "live/other" });
    const first = gate.publish.mock.calls[0]?.[1].connectionId;
    expect(gate.unpublish.mock.calls[0]?.[1].connectionId).toBe(first);
    expect(gate.unpublish.mock.calls[1]?.[1].connectionId).not.toBe(first);
    expect((await post({ action: "unpublish", path })).status).toBe(400);
  });

  it.each([
    ["an unknown action", { ...PUBLISH, action: "record" }],
    ["a list of passwords", { ...PUBLISH, password: [KEY] }],
    ["a password of 256 characters", { ...PUBLISH, password: "p".repeat(256) }],
    ["an id that cannot be stored", { ...PUBLISH, id: "\u0000" }],
    ["a path that cannot be stored", { ...PUBLISH, path: "li\u0000ve/talk" }],
  ])("refuses %s", async (_, body) => {
    const { post, gate } = createMediamtx();
    expect((await post(body)).status).toBe(400);
    expect(gate.publish).not.toHaveBeenCalled();
  });
});
