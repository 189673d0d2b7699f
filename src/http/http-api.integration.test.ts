import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createTestDatabase, type TestDatabase } from "../../test/helpers/database.ts";
import { fakeGate, fakeStreams } from "../../test/helpers/fake-streams.ts";
import { type Accounts, createAccounts } from "../auth/accounts.ts";
import { createBuiltinTokens } from "../auth/builtin-tokens.ts";
import type { Catalogue } from "../catalogue/catalogue.ts";
import { createMetrics } from "../metrics/metrics.ts";
import type { Profiles } from "../people/profiles.ts";
import type { UserData } from "../people/user-data.ts";
import type { SharedProgressService } from "../progress/progress-service.ts";
import { ROLES } from "../protocol/roles.ts";
import { serveFetch } from "../uws/serve-fetch.ts";
import { App, type TemplatedApp, us_socket_local_port } from "../uws/uws.ts";
import type { WebhookStore } from "../webhooks/webhook-store.ts";
import { createHttpApi, MAX_BODY_BYTES } from "./http-api.ts";
import { createHealth } from "./operations/health.ts";
import { toProblem } from "./problem.ts";

const CLIP = Uint8Array.from({ length: 3_000_000 }, (_, i) => i % 251);
const logger = pino({ level: "silent" });
const gate = fakeGate();
let database: TestDatabase;
let accounts: Accounts;
let app: TemplatedApp;
let folder: string;
let base: string;

beforeAll(async () => {
  database = await createTestDatabase();
  folder = await mkdtemp(join(tmpdir(), "playhead-api-"));
  await writeFile(join(folder, "index.html"), "<p>dashboard");
  await writeFile(join(folder, "clip.webm"), CLIP);
  const tokens = createBuiltinTokens({ secret: "x".repeat(40), ttlSeconds: 60 });
  accounts = createAccounts({ pool: database.pool, mintToken: tokens.mint }, { bcryptCost: 4 });
  const metrics = createMetrics();
  const api = createHttpApi({
    config: {
      PUBLIC_PATH: "",
      ALLOWED_ORIGINS: [],
      TRUST_PROXY: false,
      RATE_LIMIT_BURST: 200,
      RATE_LIMIT_PER_SECOND: 20,
      HOOK_SECRETS: ["a-hook-secret"],
      STREAM_ROLES: [...ROLES],
      demo: false,
    },
    version: "0.0.0",
    logger,
    metrics,
    verifyToken: tokens.verify,
    mintToken: tokens.mint,
    accounts,
    progress: {} as SharedProgressService,
    catalogue: { list: async () => [] } as unknown as Catalogue,
    profiles: {} as Profiles,
    userData: {} as UserData,
    streams: fakeStreams(),
    publishGate: gate,
    webhooks: {} as WebhookStore,
    xapi: {} as never,
    health: createHealth({ checks: {} }),
    pages: folder,
  });
  app = App();
  serveFetch(app, api.fetch, { toProblem, maxBodyBytes: MAX_BODY_BYTES, logger, metrics });
  base = await new Promise((resolve) => {
    app.listen("127.0.0.1", 0, (socket) => {
      if (socket) resolve(`http://127.0.0.1:${us_socket_local_port(socket)}`);
    });
  });
});

afterAll(async () => {
  app?.close();
  await accounts?.stop();
  await rm(folder, { recursive: true });
  await database?.drop();
});

const postJson = (path: string, body: unknown) =>
  fetch(base + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

describe("the HTTP API on its port", () => {
  it("registers a user, logs the user in, and accepts the token", async () => {
    const account = { username: "ada", email: "ada@example.org", password: "correct horse" };
    expect((await postJson("/v1/auth/register", account)).status).toBe(201);
    expect(await (await postJson("/v1/auth/register", account)).json()).toMatchObject({
      status: 409,
      code: "conflict",
    });
    const { token, user } = await (
      await postJson("/v1/auth/login", { email: account.email, password: account.password })
    ).json();
    expect(user).toMatchObject({ username: "ada", role: "learner" });
    const courses = await fetch(`${base}/v1/courses`, { headers: { authorization: `Bearer ${token}` } });
    expect(await courses.json()).toEqual({ courses: [] });
  });

  it("serves a video in parts, with the lengths that it announces", async () => {
    const part = await fetch(`${base}/clip.webm`, { headers: { range: "bytes=1000000-2999999" } });
    expect(part.status).toBe(206);
    expect(part.headers.get("content-length")).toBe("2000000");
    expect(Buffer.compare(new Uint8Array(await part.arrayBuffer()), CLIP.subarray(1_000_000))).toBe(0);
    const head = await fetch(`${base}/clip.webm`, { method: "HEAD" });
    expect(head.headers.get("content-length")).toBe("3000000");
  });

  it("refuses a body that is too long, and answers the next request", async () => {
    const refused = await postJson("/v1/auth/login", { username: "x".repeat(100_000) });
    expect(await refused.json()).toMatchObject({ status: 413, code: "bad_request" });
    expect((await fetch(`${base}/healthz`)).status).toBe(200);
  });

  it("reads the form of nginx, and checks the signature of OvenMediaEngine over the exact body", async () => {
    const form = await fetch(`${base}/v1/hooks/nginx-rtmp/on_publish?secret=a-hook-secret&server=ingest-1`, {
      method: "POST",
      headers: { "content-type": "application/x-www-form-urlencoded" },
      body: "app=live&addr=127.0.0.1&clientid=1&call=publish&name=okKEY_1&type=live&token=abc%20d&x=1",
    });
    expect(form.status).toBe(200);
    expect(gate.publish.mock.lastCall?.slice(0, 1)).toEqual([{ name: "nginx-rtmp:ingest-1", boot: null }]);
    const body =
      '{ "client": {"address":"127.0.0.1","port":7},\n "request": {"direction":"incoming","status":"opening","protocol":"RTMP","url":"rtmp://h/app/é"} }';
    const signature = createHmac("sha1", "a-hook-secret").update(body).digest("base64url");
    const signed = await fetch(`${base}/v1/hooks/ovenmediaengine`, {
      method: "POST",
      headers: { "content-type": "application/json", "x-ome-signature": signature },
      body,
    });
    expect(await signed.json()).toEqual({ allowed: true, lifetime: 0 });
    expect(gate.publish.mock.lastCall?.[1]).toMatchObject({ streamKey: "é" });
  });

  it("answers 500 requests at once", async () => {
    const bodies = await Promise.all(
      Array.from({ length: 500 }, async (_, i) => (await (await fetch(`${base}/no/such/${i}`)).json()).code),
    );
    expect(new Set(bodies)).toEqual(new Set(["not_found"]));
  });
});
