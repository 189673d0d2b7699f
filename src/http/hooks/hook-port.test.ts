import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { createApi, HOOK_SECRET } from "../../../test/helpers/http-api.ts";
import { type HookPort, type HookPortParts, openHookPort } from "./hook-port.ts";

const PUBLISH = "app=live&clientid=1&name=phk_a-key";
const HOOK = "/v1/hooks/nginx-rtmp/on_publish";
const RIGHT = `${HOOK}?secret=${HOOK_SECRET}`;

const open: HookPort[] = [];
afterEach(async () => {
  for (const port of open.splice(0)) await port.close(1000);
});

type Given = Parameters<typeof createApi>[0];

async function openPort(given: Given = {}, changes: Partial<HookPortParts["config"]> = {}, requestTimeoutMs = 10_000) {
  const { api, gate, metrics } = createApi(given);
  const defaults = { HOST: "127.0.0.1", PORT: 0, PUBLIC_PATH: "", HOOK_SECRETS: [HOOK_SECRET], HOOKS_PORT: undefined };
  const config = { ...defaults, ...changes };
  const warned: unknown[] = [];
  const logger = { info: () => undefined, warn: (...said: unknown[]) => void warned.push(said) } as never;
  const port = await openHookPort(
    { config, fetch: (...call) => api.fetch(...call), logger, metrics },
    { requestTimeoutMs },
  );
  if (port !== null) open.push(port);
  return { port, gate, warned, metrics };
}

/** Sends bytes, and resolves with everything that comes before the server ends the connection. */
async function exchange(port: HookPort | null, text: string): Promise<string> {
  const { hostname, port: number } = new URL((port as HookPort).url);
  const socket = connect(Number(number), hostname);
  let received = "";
  socket.on("data", (chunk) => {
    received += chunk;
  });
  socket.write(text);
  await once(socket, "close");
  return received;
}

function post(target: string, { version = "1.0", headers = "", body = PUBLISH } = {}): string {
  return `POST ${target} HTTP/${version}\r\nHost: playhead\r\nContent-Type: application/x-www-form-urlencoded\r\nConnection: close\r\n${headers}Content-Length: ${body.length}\r\n\r\n${body}`;
}

describe("the port for hooks", () => {
  it("answers HTTP/1.0 as nginx-rtmp speaks it, and passes the call to the hook", async () => {
    const { port, gate } = await openPort();
    const answer = await exchange(port, post(RIGHT));
    expect(answer).toMatch(/^HTTP\/1\.[01] 200 OK\r\n/);
    expect(answer).not.toMatch(/transfer-encoding/i);
    expect(answer).toMatch(/\r\n\r\n\{"ok":true\}$/);
    expect(gate.publish.mock.calls).toMatchObject([
      [{ name: expect.stringContaining("nginx") }, { streamKey: "phk_a-key" }, {}],
    ]);
  });

  it("answers HTTP/1.0 without a Host header", async () => {
    const { port } = await openPort();
    expect(await exchange(port, post(RIGHT).replace("Host: playhead\r\n", ""))).toContain(" 200 OK\r\n");
  });

  it("answers HTTP/1.1 too, several requests on one connection", async () => {
    const { port } = await openPort();
    const kept = post(RIGHT, { version: "1.1" }).replace("Connection: close\r\n", "");
    const answers = await exchange(port, kept + post(RIGHT, { version: "1.1" }));
    expect(answers.match(/ 200 OK\r\n/g)).toHaveLength(2);
  });

  it("refuses a wrong key with 403 and a wrong secret with 401", async () => {
    const { port, gate } = await openPort();
    gate.publish.mockResolvedValue({ valid: false, reason: "unknown" });
    expect(await exchange(port, post(RIGHT))).toContain(" 403 Forbidden\r\n");
    expect(await exchange(port, post(`${HOOK}?secret=wrong`))).toContain(" 401 Unauthorized\r\n");
    expect(gate.publish).toHaveBeenCalledTimes(1);
  });

  it("takes hooks below the public path, and nothing else there", async () => {
    const paths = { PUBLIC_PATH: "/progress" };
    const { port } = await openPort({ config: paths }, paths);
    expect(await exchange(port, post(`/progress${RIGHT}`))).toContain(" 200 ");
    expect(await exchange(port, post(RIGHT))).toContain(" 200 ");
    expect(await exchange(port, post("/progress/v1/heartbeats"))).toContain(" 404 ");
  });

  it("counts wrong secrets under the caller's address, together with those on the other port", async () => {
    const { port } = await openPort({ config: { RATE_LIMIT_BURST: 2, RATE_LIMIT_PER_SECOND: 1 } });
    for (let i = 0; i < 2; i += 1) expect(await exchange(port, post(`${HOOK}?secret=wrong`))).toContain(" 401 ");
    expect(await exchange(port, post(`${HOOK}?secret=wrong`))).toContain(" 429 ");
    expect(await exchange(port, post(RIGHT))).toContain(" 200 ");
  });

  it.each(["/", "/metrics", "/v1/streams", "/v1/hooksx", "/openapi.json"])("has nothing at %s", async (path) => {
    const { port } = await openPort();
    const answer = await exchange(port, `GET ${path} HTTP/1.0\r\n\r\n`);
    expect(answer).toContain(" 404 Not Found\r\n");
    expect(answer).toContain('"code":"not_found"');
  });

  it.each([
    ["a path with dots", post("/v1/../v1/hooks/srs")],
    ["a path with a backslash", post("/v1/hooks\\nginx-rtmp/on_publish")],
    ["a target that is no path", post("http://elsewhere/v1/hooks/srs")],
    ["two Host headers", post(RIGHT, { headers: "Host: other\r\n" })],
    ["a Host header with a path", post(RIGHT).replace("Host: playhead", "Host: playhead/x")],
    ["two lengths", post(RIGHT, { headers: "Content-Length: 3\r\n" })],
    ["an unknown transfer encoding", post(RIGHT, { version: "1.1", headers: "Transfer-Encoding: x\r\n" })],
    ["no HTTP", "nonsense\r\n\r\n"],
  ])("refuses %s with 400, and closes the connection", async (_, text) => {
    const { port, gate } = await openPort();
    expect(await exchange(port, text)).toMatch(/^HTTP\/1\.[01] 400 /);
    expect(gate.publish).not.toHaveBeenCalled();
  });

  it("refuses a body of more than 64 KB with 413, announced or not, and closes the connection", async () => {
    const { port, gate, metrics } = await openPort();
    const announced = post(RIGHT).replace(/Content-Length: \d+/, "Content-Length: 65537");
    expect(await exchange(port, announced)).toContain(" 413 Payload Too Large\r\n");
    const chunk = `${(66_000).toString(16)}\r\n${"x".repeat(66_000)}\r\n`;
    const chunked = post(RIGHT, { version: "1.1" }).replace(
      /Content-Length: .*/s,
      `Transfer-Encoding: chunked\r\n\r\n${chunk}`,
    );
    expect(await exchange(port, chunked)).toContain(" 413 Payload Too Large\r\n");
    expect(gate.publish).not.toHaveBeenCalled();
    const counted = await metrics.httpRequests.get();
    expect(counted.values).toMatchObject([{ labels: { route: "(connection)", status: "413" }, value: 2 }]);
  });

  it.each([
    ["whose head does not end", "POST / HTTP/1.1\r\nHost: x\r\n"],
    ["whose body does not come", post(RIGHT).slice(0, -5)],
  ])("ends a request %s in time", async (_, text) => {
    const { port, gate } = await openPort({}, {}, 200);
    expect(await exchange(port, text)).toContain(" 408 Request Timeout\r\n");
    expect(gate.publish).not.toHaveBeenCalled();
  });

  it("answers the request that is under way before it closes", async () => {
    const { port, gate } = await openPort();
    let decide: (verdict: { valid: false; reason: "unknown" }) => void = () => undefined;
    const asked = new Promise<void>((resolve) => {
      gate.publish.mockImplementation(() => {
        resolve();
        return new Promise((give) => {
          decide = give;
        });
      });
    });
    const answer = exchange(port, post(RIGHT));
    await asked;
    const closed = (port as HookPort).close(10_000);
    await expect(exchange(port, post(RIGHT))).rejects.toMatchObject({ code: "ECONNREFUSED" });
    decide({ valid: false, reason: "unknown" });
    expect(await answer).toContain(" 403 ");
    await closed;
  });
});

describe("HOOKS_PORT", () => {
  it("is off without secrets, and where it says so", async () => {
    expect((await openPort({}, { HOOK_SECRETS: [] })).port).toBeNull();
    expect((await openPort({}, { HOOKS_PORT: "off" })).port).toBeNull();
  });

  it("fails the start if it is taken, and only warns if nobody has set it", async () => {
    const other = createServer().listen(0, "127.0.0.1");
    await once(other, "listening");
    const taken = (other.address() as AddressInfo).port;
    await expect(openPort({}, { HOOKS_PORT: taken })).rejects.toMatchObject({
      code: "unavailable",
      message: expect.stringContaining("HOOKS_PORT"),
    });
    other.close();
    // No machine has this address, so the default port cannot be opened either.
    const { port, warned } = await openPort({}, { HOST: "192.0.2.1", PORT: 8080 });
    expect(port).toBeNull();
    expect(JSON.stringify(warned)).toContain("HTTP/1.0");
  });
});
