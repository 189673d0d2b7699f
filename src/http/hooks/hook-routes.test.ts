import { createHmac } from "node:crypto";
import { describe, expect, it } from "vitest";
import { createApi, HOOK_SECRET } from "../../../test/helpers/http-api.ts";
import { AppError } from "../../errors.ts";

/*
 * The rules that all dialects share: which calls are let in, which bodies are refused, and that no key gets out.
 */

const KEY = "phk_a-stream-key-of-somebody";
const FORM = "application/x-www-form-urlencoded";
const JSON_TYPE = "application/json";

const ome = (url: string) => ({
  client: { address: "192.0.2.7", port: 4000 },
  request: { direction: "incoming", protocol: "RTMP", status: "opening", url, time: "2026-11-01T10:00:00.000Z" },
});

/** A publication in each dialect, by the key. */
const DIALECTS = [
  ["nginx-rtmp/on_publish", FORM, (key: string) => `app=live&clientid=1&name=${key}`],
  ["nginx-rtmp/on_update", FORM, (key: string) => `app=live&clientid=1&name=${key}&timestamp=5`],
  ["nginx-rtmp/on_publish_done", FORM, (key: string) => `app=live&clientid=1&name=${key}`],
  ["srs", JSON_TYPE, (key: string) => JSON.stringify({ action: "on_publish", client_id: 7, stream: key })],
  ["mediamtx", JSON_TYPE, (key: string) => JSON.stringify({ action: "publish", id: "a", ip: "::1", password: key })],
  ["ovenmediaengine", JSON_TYPE, (key: string) => JSON.stringify(ome(`rtmp://h/app/${key}`))],
] as const;

type Given = Parameters<typeof createApi>[0];

/** Calls a hook with a secret, as a query or as a signature. */
function createHooks(given?: Given) {
  const api = createApi(given);
  const post = (hook: string, type: string, body: string | Uint8Array, secret: string | null = HOOK_SECRET) => {
    const query = secret === null ? "" : `?secret=${encodeURIComponent(secret)}`;
    const signature = createHmac("sha1", secret ?? "")
      .update(body)
      .digest("base64url");
    const signed = hook === "ovenmediaengine";
    return api.call(`/v1/hooks/${hook}${signed ? "" : query}`, {
      method: "POST",
      body,
      headers: { "content-type": type, ...(signed && secret !== null ? { "x-ome-signature": signature } : {}) },
    });
  };
  const expectUntouched = () => {
    for (const asked of [api.gate.publish, api.gate.update, api.gate.unpublish]) expect(asked).not.toHaveBeenCalled();
  };
  return { ...api, post, expectUntouched };
}

describe.each(DIALECTS)("the hook %s", (hook, type, toBody) => {
  it("accepts a shared secret, and a secret of its own dialect", async () => {
    expect((await createHooks().post(hook, type, toBody(KEY))).status).toBeLessThan(300);
    const dialect = hook.split("/")[0];
    const { post } = createHooks({ config: { HOOK_SECRETS: ["x", `${dialect}:own`] } });
    expect((await post(hook, type, toBody(KEY), "own")).status).toBeLessThan(300);
  });

  it.each([
    ["no secret", null],
    ["a wrong secret", "wrong"],
    ["another dialect's secret", "theirs"],
  ])("refuses a call with %s", async (_, secret) => {
    const other = hook === "srs" ? "mediamtx" : "srs";
    const { post, expectUntouched } = createHooks({ config: { HOOK_SECRETS: [HOOK_SECRET, `${other}:theirs`] } });
    const { status, body } = await post(hook, type, toBody(KEY), secret);
    expect(status).toBe(401);
    expect(body.code).toBe("unauthenticated");
    expectUntouched();
  });

  it("refuses every call while no secret is configured, and names HOOK_SECRETS", async () => {
    const { post, expectUntouched } = createHooks({ config: { HOOK_SECRETS: [] } });
    const { status, body } = await post(hook, type, toBody(KEY), "");
    expect(status).toBe(401);
    expect(body.detail).toContain("HOOK_SECRETS");
    expectUntouched();
  });

  it("limits the wrong secrets of an address, but never a right one", async () => {
    const { post } = createHooks({ config: { RATE_LIMIT_BURST: 3, RATE_LIMIT_PER_SECOND: 1 } });
    for (let i = 0; i < 3; i += 1) expect((await post(hook, type, toBody(KEY), "wrong")).status).toBe(401);
    expect((await post(hook, type, toBody(KEY), "wrong")).status).toBe(429);
    for (let i = 0; i < 5; i += 1) expect((await post(hook, type, toBody(KEY))).status).toBeLessThan(300);
  });

  it.each([
    ["a key of 10 KB", (body: (key: string) => string) => body("k".repeat(10_240))],
    ["nothing", () => ""],
    ["an array", () => (type === FORM ? "name[]=a&clientid=1" : '[{"action":"on_publish"}]')],
    ["arrays in fields", () => (type === FORM ? "name=a&name=b&clientid=1" : '{"action":["on_publish"],"request":[]}')],
    ["half a body", (body: (key: string) => string) => (type === FORM ? "name=" : body(KEY).slice(0, -3))],
    ["binary", () => new Uint8Array([0xff, 0xfe, 0x00, 0x80])],
    ["a byte that is no text", (body: (key: string) => string) => Buffer.from(body("phk_\u00ff"), "latin1")],
    ["null", () => "null"],
  ])("refuses %s with a message, without asking the gate", async (_, toBad) => {
    const { post, expectUntouched } = createHooks();
    const { status, body } = await post(hook, type, toBad(toBody));
    expect(status).toBe(400);
    expect(body.detail).toMatch(/\w{3,}/);
    expectUntouched();
  });

  it("refuses a body of another type", async () => {
    const { post, expectUntouched } = createHooks();
    const { status, body } = await post(hook, "text/plain", toBody(KEY));
    expect(status).toBe(400);
    expect(body.detail).toContain(type);
    expectUntouched();
  });

  it("takes only POST", async () => {
    const { call, expectUntouched } = createHooks();
    const { status, headers } = await call(`/v1/hooks/${hook}?secret=${HOOK_SECRET}&app=live&name=${KEY}&clientid=1`);
    expect(status).toBe(405);
    expect(headers.get("allow")).toBe("POST");
    expectUntouched();
  });

  it("writes no key into an answer, the log or the metrics", async () => {
    const hooks = createHooks();
    hooks.gate.publish.mockRejectedValue(new Error("boom"));
    const answers = [await hooks.post(hook, type, toBody(KEY))];
    hooks.gate.publish.mockRejectedValue(new AppError("unavailable", "The database is away."));
    answers.push(await hooks.post(hook, type, toBody(KEY)));
    hooks.gate.publish.mockResolvedValue({ valid: false, reason: "unknown" });
    hooks.gate.update.mockResolvedValue("revoked");
    for (const body of [toBody(KEY), toBody(KEY).slice(0, -1), `${toBody(KEY)}}`, toBody(KEY.repeat(10))]) {
      answers.push(await hooks.post(hook, type, body));
      answers.push(await hooks.post(hook, type, body, "wrong"));
    }
    const metrics = await hooks.call("/metrics");
    expect(JSON.stringify([answers, hooks.logged, metrics.body])).not.toContain(KEY);
  });
});

it("answers 404 for hooks that do not exist", async () => {
  const { post } = createHooks();
  expect((await post("nginx-rtmp/on_play", FORM, "name=a&clientid=1")).status).toBe(404);
  expect((await post("wowza", FORM, "name=a&clientid=1")).status).toBe(404);
});
